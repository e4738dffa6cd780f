// SPDX-License-Identifier: Apache-2.0
#pragma once
// The contract of RouteTable, written so plainly that it can be checked by reading: the reference
// for the property test and the fuzzer. A list of routes, searched from end to end.

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

  bool remove(const HostPattern& pattern) {
    return std::erase_if(routes_, [&](const Route& r) { return r.pattern == pattern; }) != 0;
  }

  [[nodiscard]] std::optional<Route> find(std::string_view name) const {
    const Route* best = nullptr;
    for (const Route& route : routes_) {
      const std::string_view text = route.pattern.text();
      if (text == name) return route;
      if (text == "*") {
        if (best == nullptr) best = &route;
      } else if (text.starts_with("*.") && name.ends_with(text.substr(1))) {
        if (best == nullptr || text.size() > best->pattern.text().size()) best = &route;
      }
    }
    if (best == nullptr) return std::nullopt;
    return *best;
  }

  [[nodiscard]] std::vector<Route> sorted() const {
    std::vector<Route> result = routes_;
    std::ranges::sort(result, {}, &Route::pattern);
    return result;
  }

 private:
  std::vector<Route> routes_;
};

/// Whether the table finds the same as the reference for this name.
inline bool agree(const RouteTable& table, const NaiveRoutes& reference, std::string_view name) {
  const LiveRoute* const found = table.find(name);
  const auto expected = reference.find(name);
  if (found == nullptr || !expected) return (found == nullptr) == !expected;
  return found->spec == *expected;
}

/// Whether both hold the same routes.
inline bool hold_the_same(const RouteTable& table, const NaiveRoutes& reference) {
  const auto is_equal = [](const LiveRoute* a, const Route& b) { return a->spec == b; };
  return std::ranges::equal(table.sorted(), reference.sorted(), is_equal);
}

}  // namespace mc::policy
