// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a client goes, for one listener: an immutable table. A change makes another table, which
// shares nearly everything with the one before it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "policy/live_route.hpp"
#include "policy/pattern_routes.hpp"
#include "policy/route_set.hpp"

namespace mc::policy {

/// The routes of one listener, at most one for each pattern and match. A value that copies in a few
/// instructions; any thread.
class RouteTable {
 public:
  class Edit;

  /// The table without routes.
  RouteTable() = default;
  /// A table of these routes. Of two with the same pattern and match the later one stays.
  static RouteTable build(std::vector<LiveRoute> routes);

  /// Where the client goes: to a route for exactly its name, else for the longest wildcard above
  /// it, else to the fallback; nullptr: nowhere. A pattern whose routes all ask for more than the
  /// client satisfies is passed over; see PatternRoutes::find() for the choice among them. The
  /// name is normalised, and not empty: a client without one is for its listener's no_sni. The
  /// route lives as long as the table or a copy of it.
  [[nodiscard]] const LiveRoute* find(const RouteQuery& client) const;
  /// Whether there is a route for the name, for any client.
  [[nodiscard]] bool covers(std::string_view name) const;

  /// All routes with this pattern, or nullptr. They live as long as the table or a copy of it.
  [[nodiscard]] const PatternRoutes* by_pattern(const HostPattern& pattern) const;
  /// The route with exactly this pattern and match, or nullptr. Likewise.
  [[nodiscard]] const LiveRoute* by_key(const HostPattern& pattern, const RouteMatch& match) const;

  /// This table with the route added; it replaces the one with the same pattern and match.
  [[nodiscard]] RouteTable with(LiveRoute route) const;
  /// This table without the route that has this pattern and match, if there is one.
  [[nodiscard]] RouteTable without(const HostPattern& pattern, const RouteMatch& match) const;

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// Calls `visit` with each route, in no particular order.
  void for_each(const std::function<void(const LiveRoute&)>& visit) const;

  /// All routes by pattern, then by match, in byte order, for listings: sorts on every call.
  [[nodiscard]] std::vector<const LiveRoute*> sorted() const;

 private:
  RouteTable(RouteSet exact, RouteSet wildcards, std::shared_ptr<const PatternRoutes> fallback);

  /// Calls `take` with the routes of each pattern for the name, strongest first, until it returns
  /// true.
  template <class Take>
  void visit_patterns(std::string_view name, Take take) const;

  RouteSet exact_;
  RouteSet wildcards_;
  std::shared_ptr<const PatternRoutes> fallback_;
};

/// A batch of changes from one table to the next: far cheaper than as many with() and without().
/// The original table stays as it is. Belongs to one thread.
class RouteTable::Edit {
 public:
  explicit Edit(const RouteTable& base);

  /// Adds the route; it replaces the one with the same pattern and match.
  void put(LiveRoute route);
  /// Removes the route with this pattern and match. False if there was none.
  bool remove(const HostPattern& pattern, const RouteMatch& match);
  /// The table with all changes made so far. Ends the edit.
  [[nodiscard]] RouteTable finish() &&;

 private:
  bool remove_from_fallback(const RouteMatch& match);

  RouteSet::Edit exact_;
  RouteSet::Edit wildcards_;
  std::shared_ptr<const PatternRoutes> fallback_;
};

}  // namespace mc::policy
