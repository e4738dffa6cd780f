// SPDX-License-Identifier: Apache-2.0
#pragma once
// What RouteTable promises, written so plainly that it can be checked by reading: the reference for
// the property test and the fuzzer. A list of routes, searched from end to end.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/route_table.hpp"

namespace mc::policy {

class NaiveRoutes {
 public:
  void put(const Route& route) {
    remove(route.pattern);
    routes_.push_back(route);
  }

  bool remove(std::string_view pattern) {
    return std::erase_if(routes_, [&](const Route& r) { return r.pattern == pattern; }) != 0;
  }

  [[nodiscard]] std::optional<std::pair<Route, MatchKind>> find(std::string_view name) const {
    const Route* best = nullptr;
    MatchKind kind = MatchKind::kFallback;
    for (const Route& route : routes_) {
      if (route.pattern == name) return std::pair(route, MatchKind::kExact);
      if (route.pattern == "*") {
        if (best == nullptr) best = &route;
      } else if (route.pattern.starts_with("*.") && name.ends_with(route.pattern.substr(1))) {
        if (kind != MatchKind::kWildcard || route.pattern.size() > best->pattern.size()) {
          best = &route;
          kind = MatchKind::kWildcard;
        }
      }
    }
    if (best == nullptr) return std::nullopt;
    return std::pair(*best, kind);
  }

  [[nodiscard]] std::vector<Route> sorted() const {
    std::vector<Route> result = routes_;
    std::ranges::sort(result, {}, &Route::pattern);
    return result;
  }

 private:
  std::vector<Route> routes_;
};

/// Whether the table answers for this name just as the reference does.
inline bool agree(const RouteTable& table, const NaiveRoutes& reference, std::string_view name) {
  const auto match = table.find(name);
  const auto expected = reference.find(name);
  if (!match || !expected) return match.has_value() == expected.has_value();
  return *match->route == expected->first && match->kind == expected->second;
}

/// Whether both hold the same routes.
inline bool hold_the_same(const RouteTable& table, const NaiveRoutes& reference) {
  const auto is_equal = [](const Route* a, const Route& b) { return *a == b; };
  return std::ranges::equal(table.sorted(), reference.sorted(), is_equal);
}

}  // namespace mc::policy
