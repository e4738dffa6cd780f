// SPDX-License-Identifier: Apache-2.0
#include "policy/live_pool.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/assert.hpp"
#include "base/mix.hpp"
#include "policy/limits.hpp"

namespace mc::policy {
namespace {

// The step of round robin: coprime to `sum`, so that `sum` steps visit every place once, and near
// the golden ratio of it, so that the visits of one backend lie far apart.
std::uint32_t step_for(std::uint32_t sum) {
  auto step = static_cast<std::uint32_t>(static_cast<double>(sum) * 0.618);
  while (step > 1 && std::gcd(step, sum) != 1) --step;
  return std::max(step, 1U);
}

void finish(Tier& tier, std::span<const LiveBackend> backends) {
  std::int64_t divisor = 0;
  for (const std::uint32_t i : tier.members) divisor = std::gcd(divisor, backends[i].spec.weight);
  std::uint32_t sum = 0;
  for (const std::uint32_t i : tier.members) {
    const std::int64_t weight = divisor == 0 ? 1 : backends[i].spec.weight / divisor;
    sum += static_cast<std::uint32_t>(weight);
    tier.has_equal_weights = tier.has_equal_weights && weight == 1;
    tier.weights_sum.push_back(sum);
  }
  tier.step = tier.has_equal_weights ? 1 : step_for(sum);
}

}  // namespace

// ---- a backend

void BackendState::set_health(Health health, std::string why, Instant now) {
  const std::lock_guard lock(text_);
  health_why_ = std::move(why);
  const Health before = health_.exchange(health, std::memory_order_relaxed);
  if (before == health) return;
  health_since_ = now;
  if (health != Health::kUp || before != Health::kDown) return;
  set_returned(now);
  failures_in_row_.store(0, std::memory_order_relaxed);
  ejections_.store(0, std::memory_order_relaxed);
  ejected_until_.store(0, std::memory_order_relaxed);
}

BackendState::Shown BackendState::shown(Instant now) const {
  const std::lock_guard lock(text_);
  if (is_ejected(now) && health() != Health::kDown) {
    return {.health = health(), .is_ejected = true, .why = ejected_why_, .since = ejected_at_};
  }
  return {.health = health(), .is_ejected = false, .why = health_why_, .since = health_since_};
}

// ---- a pool

LivePool::LivePool(Pool spec, const LivePool* before, Instant now)
    : spec_(std::move(spec)),
      shared_(before != nullptr ? before->shared_ : std::make_shared<Shared>()) {
  std::map<std::string, const LiveBackend*> known;
  if (before != nullptr) {
    for (const LiveBackend& backend : before->backends_) {
      known.emplace(backend.spec.address.to_string(), &backend);
    }
  }
  for (const Backend& backend : spec_.backends) {
    const std::string address = backend.address.to_string();
    LiveBackend live{
        .spec = backend,
        .state = {},
        .seed = hash64(address),
        .inverse_weight = 1.0 / static_cast<double>(std::max<std::int64_t>(backend.weight, 1))};
    if (const auto there = known.find(address); there != known.end()) {
      live.state = there->second->state;
      const bool was_out = there->second->spec.state != AdminState::kReady;
      if (was_out && backend.state == AdminState::kReady) live.state->set_returned(now);
    } else {
      live.state = std::make_shared<BackendState>(spec_.name, backend.address);
    }
    backends_.push_back(std::move(live));
  }
  Tier weighted, backups, without_weight;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const Backend& backend = backends_[i].spec;
    if (backend.state != AdminState::kReady) continue;
    Tier& tier = backend.weight == 0 ? without_weight : backend.backup ? backups : weighted;
    tier.members.push_back(static_cast<std::uint32_t>(i));
  }
  for (Tier* const tier : {&weighted, &backups, &without_weight}) {
    if (tier->members.empty()) continue;
    ready_count_ += tier->members.size();
    finish(*tier, backends_);
    tiers_.push_back(std::move(*tier));
  }
}

std::uint32_t LivePool::weight_of(const LiveBackend& backend, Instant now) const {
  const auto weight = static_cast<std::uint32_t>(backend.spec.weight);
  const auto slow_start = spec_.settings.slow_start;
  const Instant returned_at = backend.state->returned_at();
  if (slow_start.count() == 0 || returned_at == Instant() || now >= returned_at + slow_start) {
    return weight;
  }
  const auto since = std::max(now - returned_at, Clock::duration(0));
  const auto part = static_cast<std::uint64_t>(weight) * static_cast<std::uint64_t>(since.count()) /
                    static_cast<std::uint64_t>(slow_start.count());
  return std::max(static_cast<std::uint32_t>(part), weight == 0 ? 0U : 1U);
}

}  // namespace mc::policy
