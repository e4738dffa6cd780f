// SPDX-License-Identifier: Apache-2.0
#include "dns/schedule.hpp"

#include <algorithm>

#include "dns/limits.hpp"

namespace mc::dns {
namespace {

/// 100 - kJitterPercent to 100 + kJitterPercent percent of the wait, in whole milliseconds.
std::chrono::milliseconds jittered(std::chrono::milliseconds wait, std::uint64_t random) {
  const auto most = static_cast<std::uint64_t>(wait.count() * kJitterPercent / 100);
  const auto offset = static_cast<std::int64_t>(random % (2 * most + 1));
  return wait + std::chrono::milliseconds(offset - static_cast<std::int64_t>(most));
}

}  // namespace

std::chrono::milliseconds refresh_after(std::chrono::seconds ttl, const Settings& settings,
                                        std::uint64_t random) {
  const std::chrono::milliseconds asked = ttl;
  return jittered(std::min(std::max(asked, settings.ttl_min), settings.ttl_max), random);
}

std::chrono::milliseconds retry_after(std::uint64_t failures, std::uint64_t random) {
  std::chrono::milliseconds wait = kRetryMin;
  for (std::uint64_t i = 1; i < failures && wait < kRetryMax; ++i) wait *= 2;
  return jittered(std::min(wait, kRetryMax), random);
}

}  // namespace mc::dns
