// SPDX-License-Identifier: Apache-2.0
#pragma once
// The routes of one host pattern: the one for any client, and those that ask for more than the
// name. RouteTable is made of these; nothing else should need one.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "policy/live_route.hpp"

namespace mc::policy {

/// At least one route, all with the same pattern. A value that a copy shares most of; any thread
/// may read one that no longer changes.
class PatternRoutes {
 public:
  explicit PatternRoutes(LiveRoute route) { put(std::move(route)); }

  [[nodiscard]] const HostPattern& pattern() const { return first().spec.pattern; }

  /// The route that suits the client best: of those that it satisfies the one with the greatest
  /// MatchRank; of several that rank the same, the first by alpn and sources in byte order. nullptr
  /// if it satisfies none. Lives as long as this object, if that does not change.
  [[nodiscard]] const LiveRoute* find(const RouteQuery& client) const {
    return matching_ == nullptr ? &*plain_ : best_of_matching(client);
  }
  /// The route with exactly this match, or nullptr.
  [[nodiscard]] const LiveRoute* by_match(const RouteMatch& match) const;

  /// Adds the route; it replaces the one with the same match.
  void put(LiveRoute route);

  [[nodiscard]] std::size_t size() const {
    return (plain_ ? 1 : 0) + (matching_ ? matching_->size() : 0);
  }
  /// These routes with one more; it replaces the one with the same match.
  [[nodiscard]] PatternRoutes with(LiveRoute route) const;
  /// These routes without the one that has this match; nothing if none is left.
  [[nodiscard]] std::optional<PatternRoutes> without(const RouteMatch& match) const;

  /// Calls `visit` with each route, the plain one first, then by match.
  void for_each(const std::function<void(const LiveRoute&)>& visit) const;

 private:
  [[nodiscard]] const LiveRoute& first() const { return plain_ ? *plain_ : matching_->front(); }
  [[nodiscard]] const LiveRoute* best_of_matching(const RouteQuery& client) const;

  /// One of both is there.
  std::optional<LiveRoute> plain_;
  std::shared_ptr<const std::vector<LiveRoute>> matching_;  // null, or sorted and not empty
};

}  // namespace mc::policy
