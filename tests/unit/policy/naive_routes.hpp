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
    remove(route.pattern, route.match);
    routes_.push_back(route);
  }

  bool remove(const HostPattern& pattern, const RouteMatch& match) {
    return std::erase_if(routes_, [&](const Route& route) {
             return route.pattern == pattern && route.match == match;
           }) != 0;
  }

  [[nodiscard]] std::optional<Route> find(const RouteQuery& client) const {
    const Route* best = nullptr;
    for (const Route& route : routes_) {
      if (!takes(route, client)) continue;
      if (best == nullptr || is_stronger(route, *best, client)) best = &route;
    }
    if (best == nullptr) return std::nullopt;
    return *best;
  }

  [[nodiscard]] bool covers(std::string_view name) const {
    return std::ranges::any_of(
        routes_, [&](const Route& route) { return takes_name(route.pattern.text(), name); });
  }

  [[nodiscard]] std::vector<Route> sorted() const {
    std::vector<Route> result = routes_;
    std::ranges::sort(result, is_listed_before);
    return result;
  }

 private:
  static bool is_listed_before(const Route& a, const Route& b) {
    if (a.pattern != b.pattern) return a.pattern < b.pattern;
    return a.match < b.match;
  }

  static bool takes_name(std::string_view pattern, std::string_view name) {
    if (pattern == "*" || pattern == name) return true;
    return pattern.starts_with("*.") && name.ends_with(pattern.substr(1)) &&
           name.size() >= pattern.size();
  }

  static bool takes(const Route& route, const RouteQuery& client) {
    if (!takes_name(route.pattern.text(), client.name)) return false;
    const std::vector<std::string_view> offered(client.alpn.begin(), client.alpn.end());
    const std::string& alpn = route.match.alpn;
    const bool is_offered = std::ranges::find(offered, alpn) != offered.end();
    if (!alpn.empty() && !is_offered) return false;
    if (alpn == "acme-tls/1" && offered.size() != 1) return false;
    return route.match.sources.empty() || longest_source(route, client) >= 0;
  }

  static int longest_source(const Route& route, const RouteQuery& client) {
    int longest = -1;
    for (const IpPrefix& source : route.match.sources) {
      if (source.contains(client.client)) longest = std::max(longest, source.length());
    }
    return longest;
  }

  // Of two routes that take the client.
  static bool is_stronger(const Route& a, const Route& b, const RouteQuery& client) {
    const auto strength = [](const Route& route) {
      const std::string& text = route.pattern.text();
      return text == "*" ? 0 : text.starts_with("*.") ? text.size() : 1000;
    };
    if (strength(a) != strength(b)) return strength(a) > strength(b);
    if (a.match.alpn.empty() != b.match.alpn.empty()) return b.match.alpn.empty();
    const int longest_a = longest_source(a, client);
    const int longest_b = longest_source(b, client);
    return longest_a != longest_b ? longest_a > longest_b : is_listed_before(a, b);
  }

  std::vector<Route> routes_;
};

/// Whether the table finds the same as the reference for this client.
inline bool agree(const RouteTable& table, const NaiveRoutes& reference, const RouteQuery& client) {
  if (table.covers(client.name) != reference.covers(client.name)) return false;
  const LiveRoute* const found = table.find(client);
  const auto expected = reference.find(client);
  if (found == nullptr || !expected) return (found == nullptr) == !expected;
  return found->spec == *expected;
}

/// Whether both hold the same routes.
inline bool hold_the_same(const RouteTable& table, const NaiveRoutes& reference) {
  const auto is_equal = [](const LiveRoute* a, const Route& b) { return a->spec == b; };
  return std::ranges::equal(table.sorted(), reference.sorted(), is_equal);
}

}  // namespace mc::policy
