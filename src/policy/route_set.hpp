// SPDX-License-Identifier: Apache-2.0
#pragma once
// An immutable set of routes, looked up by host, of which a changed copy is cheap: the hosts are
// spread over a fixed number of hash tables ("shards"), successive sets share shards, and a change
// copies only the shards that it touches. RouteTable is made of two of these; nothing else should
// need one.

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "policy/pattern_routes.hpp"

namespace mc::policy {

/// Routes of patterns with distinct hosts. A value that copies in a few instructions; any thread.
class RouteSet {
 public:
  class Edit;

  /// The empty set.
  RouteSet();

  /// The routes whose pattern has this host, or nullptr. They live as long as this set or a copy of
  /// it.
  [[nodiscard]] const PatternRoutes* find(std::string_view host) const;

  /// The number of routes.
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  /// Calls `visit` with each route, in no particular order.
  void for_each(const std::function<void(const LiveRoute&)>& visit) const;

 private:
  struct Shards;

  RouteSet(std::shared_ptr<const Shards> shards, std::size_t size);

  std::shared_ptr<const Shards> shards_;
  std::size_t size_ = 0;
};

/// A batch of changes on the way from one set to the next. The set it started from stays as it is.
/// Belongs to one thread.
class RouteSet::Edit {
 public:
  explicit Edit(RouteSet base);
  ~Edit();
  Edit(const Edit&) = delete;
  Edit& operator=(const Edit&) = delete;

  /// Adds the route; one with the same host and match is replaced.
  void put(LiveRoute route);
  /// Removes the route with this host and match. False if there was none.
  bool remove(std::string_view host, const RouteMatch& match);
  /// The set with all changes made so far. Ends the edit.
  [[nodiscard]] RouteSet finish() &&;

 private:
  struct Copies;

  Copies& copies();

  RouteSet base_;
  std::unique_ptr<Copies> copies_;  // null before the first change
  std::size_t size_;
};

}  // namespace mc::policy
