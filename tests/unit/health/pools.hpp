// SPDX-License-Identifier: Apache-2.0
#pragma once
// Pools in force for tests of health checks, in a line each.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/socket_address.hpp"
#include "policy/live_pool.hpp"

namespace mc::health::testing {

using policy::CheckKind;
using policy::Health;

/// Checks fast enough for a test to wait for several.
inline policy::Check quick_check(CheckKind kind) {
  using std::chrono::milliseconds;
  return {.kind = kind,
          .name = kind == CheckKind::kTls ? "app.example.com" : "",
          .interval = milliseconds(20),
          .fast_interval = milliseconds(10),
          .timeout = milliseconds(5'000),
          .rise = 2,
          .fall = 3};
}

inline policy::Pool pool_of(std::string name, const policy::Check& check,
                            const std::vector<SocketAddress>& addresses) {
  policy::Pool pool;
  pool.name = std::move(name);
  pool.settings.check = check;
  for (const SocketAddress& address : addresses) pool.backends.push_back({.address = address});
  return pool;
}

inline std::shared_ptr<const policy::LivePools> live(const std::vector<policy::Pool>& pools,
                                                     const policy::LivePools* before = nullptr) {
  policy::LivePools all;
  for (const policy::Pool& pool : pools) {
    const policy::LivePool* old = nullptr;
    if (before != nullptr && before->contains(pool.name)) old = before->at(pool.name).get();
    all.emplace(pool.name, std::make_shared<const policy::LivePool>(pool, policy::ResolvedNames(),
                                                                    old, Clock::now()));
  }
  return std::make_shared<const policy::LivePools>(std::move(all));
}

inline policy::BackendState& state_of(const policy::LivePools& pools, const std::string& name,
                                      std::size_t backend = 0) {
  return *pools.at(name)->backends()[backend].state;
}

}  // namespace mc::health::testing
