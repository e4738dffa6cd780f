// SPDX-License-Identifier: Apache-2.0
// The part of a Draft that knows which routes lead to which pools: no route may lead to a pool that
// does not exist, and no pool that a listener names may be removed.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/quote.hpp"
#include "control/draft.hpp"
#include "control/limits.hpp"

namespace mc::control {

// The routes that lead to a pool that the request removes.
struct Draft::Users {
  std::optional<std::size_t> removed_by;
  std::string named;  // the first ones
  std::size_t count = 0;

  void add(const std::string& listener, const policy::RouteText& route,
           std::string_view note = "") {
    if (++count > kRoutesNamed) return;
    named += fmt::format("{}{} at listener {}{}", named.empty() ? "" : ", ",
                         policy::quoted(route.hostname, route.match), quote(listener), note);
  }
};

Outcome<void> Draft::require_pools() const {
  std::map<std::string, Users, std::less<>> removed;
  for (const auto& [name, by] : removed_pools_) {
    if (!pools_.has(name)) removed.emplace(name, Users{.removed_by = by});
  }
  for (const auto& [key, route] : routes_) {
    const std::string* const pool = route.now.has_value() ? route.now->pool() : nullptr;
    if (pool == nullptr || pools_.has(*pool) || removed.contains(*pool)) continue;
    return refuse(RefusalKind::kFailedPrecondition,
                  fmt::format("the route {} at listener {} leads to pool {}, and there is no such "
                              "pool; add it first, or in the same request: mc-proxy pools add",
                              policy::quoted(key.pattern.text(), to_text(key.match)),
                              quote(listeners_.name(key.listener)), quote(*pool)),
                  route.by);
  }
  if (removed.empty()) return {};
  if (auto unnamed = require_unnamed(removed); !unnamed.has_value()) return unnamed;
  find_users(removed);
  find_users_aside(removed);
  for (const auto& [name, users] : removed) {
    if (users.count == 0) continue;
    const std::size_t more = users.count - std::min(users.count, kRoutesNamed);
    return refuse(
        RefusalKind::kFailedPrecondition,
        fmt::format("pool {} cannot be removed: {} {} to it: {}{}; remove or change {} first",
                    quote(name), users.count, users.count == 1 ? "route leads" : "routes lead",
                    users.named, more > 0 ? fmt::format(" and {} more", more) : "",
                    users.count == 1 ? "it" : "them"),
        users.removed_by);
  }
  return {};
}

Outcome<void> Draft::require_unnamed(
    const std::map<std::string, Users, std::less<>>& removed) const {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    for (const PoolUse& use : listeners_.pools(i)) {
      const auto users = removed.find(use.pool);
      if (users == removed.end()) continue;
      return refuse(
          RefusalKind::kFailedPrecondition,
          fmt::format("pool {} cannot be removed: the listener {} sends {} to it; change the "
                      "configuration and start the server anew first",
                      quote(use.pool), quote(listeners_.name(i)), use.clients),
          users->second.removed_by);
    }
  }
  return {};
}

void Draft::find_users(std::map<std::string, Users, std::less<>>& removed) const {
  const auto look_at = [&](std::size_t listener, const policy::Route& route) {
    if (route.pool() == nullptr) return;
    const auto users = removed.find(*route.pool());
    if (users == removed.end()) return;
    users->second.add(listeners_.name(listener), to_text(route));
  };
  for (std::size_t i = 0; i < base_.routes.size(); ++i) {
    base_.routes[i].for_each([&](const policy::LiveRoute& route) {
      // The touched ones follow, as they are now.
      if (route.spec.pool() == nullptr) return;
      if (routes_.contains({i, route.spec.pattern, route.spec.match})) return;
      look_at(i, route.spec);
    });
  }
  for (const auto& [key, route] : routes_) {
    if (route.now.has_value()) look_at(key.listener, *route.now);
  }
}

void Draft::find_users_aside(std::map<std::string, Users, std::less<>>& removed) const {
  const auto look_at = [&](const store::RouteRecord& record) {
    const auto users = removed.find(record.text.pool);
    if (users == removed.end()) return;
    users->second.add(record.listener, record.text,
                      " (not configured; give its routes to one that is: mc-proxy routes move)");
  };
  for (const store::RouteRecord& record : *base_.aside) {
    const store::RouteRecordKey key{record.listener, record.text.hostname, record.text.match};
    if (std::ranges::find(removed_aside_, key) == removed_aside_.end()) look_at(record);
  }
  for (const store::RouteRecord& record : put_aside_) look_at(record);
}

}  // namespace mc::control
