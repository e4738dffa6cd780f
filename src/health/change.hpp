// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a Checker reports: that checks have changed the health of a backend of a pool.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "policy/live_pool.hpp"

namespace mc::health {

struct Change {
  std::shared_ptr<const policy::LivePool> pool;  // as it was when the check ended
  std::shared_ptr<policy::BackendState> backend;
  policy::Health before = policy::Health::kUnchecked;
  policy::Health after = policy::Health::kUnchecked;
  std::string why;          // the result of the last check
  std::int64_t checks = 0;  // in a row with a result of this kind
};

/// On the checker's thread, after the change: a callee that takes long delays all checks.
using OnChange = std::function<void(const Change&)>;

/// Whether the backend's open connections are to be reset: it went down, its pool says so, and
/// another backend of the pool is alive and ready to take them.
[[nodiscard]] bool calls_for_reset(const Change& change, Instant now);

}  // namespace mc::health
