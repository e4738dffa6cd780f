// SPDX-License-Identifier: Apache-2.0
#pragma once
// Pools whose backends are 10.0.0.1:443, 10.0.0.2:443 and so on.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "policy/live_pool.hpp"
#include "policy/route.hpp"

namespace mc::policy {

inline BackendAddress backend_address(std::size_t number) {
  return parse_backend("10.0." + std::to_string(number / 250) + "." +
                       std::to_string(number % 250 + 1) + ":443")
      .value();
}

/// A pool named "app" with one backend for each weight.
inline Pool pool_of(std::initializer_list<std::int64_t> weights, PoolSettings settings = {}) {
  Pool pool{.name = "app", .settings = std::move(settings), .backends = {}};
  for (const std::int64_t weight : weights) {
    pool.backends.push_back({.address = backend_address(pool.backends.size()), .weight = weight});
  }
  return pool;
}

inline Pool pool_of_size(std::size_t size, PoolSettings settings = {}) {
  Pool pool{.name = "app", .settings = std::move(settings), .backends = {}};
  while (pool.backends.size() < size) {
    pool.backends.push_back({.address = backend_address(pool.backends.size())});
  }
  return pool;
}

inline LivePool live(Pool pool) { return {std::move(pool), ResolvedNames(), nullptr, Instant()}; }

}  // namespace mc::policy
