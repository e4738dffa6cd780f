// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the results of checks become the health of one backend of one pool. Pure; no thread of its
// own.

#include <cstdint>
#include <utility>

#include "policy/live_pool.hpp"
#include "policy/pool.hpp"

namespace mc::health {

/// The health so far, and the results in a row that contradict it.
class Standing {
 public:
  explicit Standing(policy::Health health) : health_(health) {}

  [[nodiscard]] policy::Health health() const { return health_; }
  /// Whether the next results may change the health.
  [[nodiscard]] bool is_changing() const { return contradictions_ > 0; }

  /// Counts a check that found the backend to be `found`, kUp or kDown. Returns the number of
  /// checks that have just changed the health; 0: it is as before. The first check of an unchecked
  /// backend decides: after a take-over, clients do not wait for a silent one until `fall` have
  /// failed.
  std::int64_t count(policy::Health found, const policy::Check& check) {
    const bool agrees = found == health_;
    contradictions_ = agrees ? 0 : contradictions_ + 1;
    if (agrees || contradictions_ < checks_until(found, check)) return 0;
    health_ = found;
    return std::exchange(contradictions_, 0);
  }

 private:
  [[nodiscard]] std::int64_t checks_until(policy::Health found, const policy::Check& check) const {
    if (health_ == policy::Health::kUnchecked) return 1;
    return found == policy::Health::kDown ? check.fall : check.rise;
  }

  policy::Health health_;
  std::int64_t contradictions_ = 0;
};

}  // namespace mc::health
