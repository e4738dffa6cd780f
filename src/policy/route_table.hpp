// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which backend a host name goes to, for one listener: an immutable table. A change makes another
// table, which shares nearly everything with the one before it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "policy/live_route.hpp"
#include "policy/route_set.hpp"

namespace mc::policy {

/// The routes of one listener, at most one for each pattern. A value that copies in a few
/// instructions; any thread.
class RouteTable {
 public:
  class Edit;

  /// The table without routes.
  RouteTable() = default;
  /// A table of these routes. Of two with the same pattern the later one stays.
  static RouteTable build(std::vector<LiveRoute> routes);

  /// Where `name` goes: to the route for exactly this name, else to the longest wildcard above it,
  /// else to the fallback; nullptr: nowhere. `name` is normalised; the empty name can only match
  /// the fallback. The route lives as long as the table or a copy of it.
  [[nodiscard]] const LiveRoute* find(std::string_view name) const;

  /// The route with exactly this pattern, or nullptr. Lives as long as the table or a copy of it.
  [[nodiscard]] const LiveRoute* by_pattern(const HostPattern& pattern) const;

  /// This table with the route added; it replaces the one with the same pattern.
  [[nodiscard]] RouteTable with(LiveRoute route) const;
  /// This table without the route that has this pattern, if there is one.
  [[nodiscard]] RouteTable without(const HostPattern& pattern) const;

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// Calls `visit` with each route, in no particular order.
  void for_each(const std::function<void(const LiveRoute&)>& visit) const;

  /// All routes by pattern in byte order, for listings: sorts on every call.
  [[nodiscard]] std::vector<const LiveRoute*> sorted() const;

 private:
  RouteTable(RouteSet exact, RouteSet wildcards, std::shared_ptr<const LiveRoute> fallback);

  RouteSet exact_;
  RouteSet wildcards_;
  std::shared_ptr<const LiveRoute> fallback_;
};

/// A batch of changes from one table to the next: far cheaper than as many with() and without().
/// The original table stays as it is. Belongs to one thread.
class RouteTable::Edit {
 public:
  explicit Edit(const RouteTable& base);

  /// Adds the route; it replaces the one with the same pattern.
  void put(LiveRoute route);
  /// Removes the route with this pattern. False if there was none.
  bool remove(const HostPattern& pattern);
  /// The table with all changes made so far. Ends the edit.
  [[nodiscard]] RouteTable finish() &&;

 private:
  RouteSet::Edit exact_;
  RouteSet::Edit wildcards_;
  std::shared_ptr<const LiveRoute> fallback_;
};

}  // namespace mc::policy
