// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which backend a host name goes to, for one listener: an immutable table. A change makes another
// table that shares nearly everything with the one before it. It knows nothing of where names come
// from: names and patterns are normalised and validated before they get here (see tls::HostName).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "policy/route.hpp"
#include "policy/route_set.hpp"

namespace mc::policy {

/// Which kind of pattern matched, strongest first.
enum class MatchKind : std::uint8_t { kExact, kWildcard, kFallback };

/// "exact", "wildcard" or "fallback".
std::string_view to_string(MatchKind kind);

struct RouteMatch {
  /// Never null. Lives as long as the table or a copy of it.
  const Route* route;
  MatchKind kind;
};

/// The routes of one listener, at most one for each pattern. A value that copies in a few
/// instructions; any thread.
class RouteTable {
 public:
  class Edit;

  /// The table without routes.
  RouteTable() = default;
  /// A table of these routes. Of two with the same pattern the later one stays.
  static RouteTable build(std::vector<Route> routes);

  /// Where `name` goes: to the route for exactly this name, else to the longest wildcard above it
  /// ("*.example.com" matches any depth below example.com, but not example.com itself), else to the
  /// fallback "*". `name` is normalised; the empty name can only match
  /// "*".
  [[nodiscard]] std::optional<RouteMatch> find(std::string_view name) const;

  /// The route with exactly this pattern, or nullptr. Lives as long as the table or a copy of it.
  [[nodiscard]] const Route* by_pattern(std::string_view pattern) const;

  /// This table with the route added, or put in the place of the one with its pattern.
  [[nodiscard]] RouteTable with(Route route) const;
  /// This table without the route that has this pattern, if there is one.
  [[nodiscard]] RouteTable without(std::string_view pattern) const;

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// Calls `visit` with each route, in no particular order.
  void for_each(const std::function<void(const Route&)>& visit) const;

  /// All routes by pattern in byte order, for listings: sorts on every call.
  [[nodiscard]] std::vector<const Route*> sorted() const;

 private:
  RouteTable(RouteSet exact, RouteSet wildcards, std::shared_ptr<const Route> fallback);

  RouteSet exact_;
  RouteSet wildcards_;
  std::shared_ptr<const Route> fallback_;
};

/// A batch of changes on the way from one table to the next: far cheaper than as many with() and
/// without(). The table it started from stays as it is. Belongs to one thread.
class RouteTable::Edit {
 public:
  explicit Edit(const RouteTable& base);

  /// Adds the route, or puts it in the place of the one with its pattern.
  void put(Route route);
  /// Removes the route with this pattern. False if there was none.
  bool remove(std::string_view pattern);
  /// The table with all changes made so far. Ends the edit.
  [[nodiscard]] RouteTable finish() &&;

 private:
  RouteSet::Edit exact_;
  RouteSet::Edit wildcards_;
  std::shared_ptr<const Route> fallback_;
};

}  // namespace mc::policy
