// SPDX-License-Identifier: Apache-2.0
// When a backend whose dials fail in a row gets no connections for a while, and for how long. Which
// failures count is in proxy/dial.cpp; the numbers are in limits.hpp.

#include <algorithm>
#include <utility>

#include "policy/limits.hpp"
#include "policy/live_pool.hpp"

namespace mc::policy {

bool BackendState::dial_failed() {
  return failures_in_row_.fetch_add(1, std::memory_order_relaxed) + 1 >= kFailuresToEject;
}

std::optional<std::chrono::milliseconds> LivePool::eject(BackendState& backend, std::string why,
                                                         Instant now) const {
  const std::lock_guard lock(shared_->ejecting);
  if (backend.is_ejected(now)) return std::nullopt;
  bool is_ready = false;
  std::size_t dead = 0;
  for (const LiveBackend& other : backends_) {
    if (other.spec.state != AdminState::kReady) continue;
    is_ready |= other.state.get() == &backend;
    if (!other.state->is_alive(now)) ++dead;
  }
  if (!is_ready || 2 * (dead + 1) > ready_count_) return std::nullopt;
  return backend.eject(std::move(why), now);
}

// A backend that fails again when its time is over has its failures in a row still: the first one
// ejects it again, for longer.
std::chrono::milliseconds BackendState::eject(std::string why, Instant now) {
  const std::uint32_t times = ejections_.fetch_add(1, std::memory_order_relaxed) + 1;
  const auto time = std::min(kEjection * times, kEjectionMax);
  const std::lock_guard lock(text_);
  ejected_why_ = std::move(why);
  ejected_at_ = now;
  ejected_until_.store((now + time).time_since_epoch().count(), std::memory_order_relaxed);
  set_returned(now + time);
  return time;
}

}  // namespace mc::policy
