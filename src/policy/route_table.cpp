// SPDX-License-Identifier: Apache-2.0
#include "policy/route_table.hpp"

#include <algorithm>
#include <utility>

namespace mc::policy {

RouteTable::RouteTable(RouteSet exact, RouteSet wildcards,
                       std::shared_ptr<const LiveRoute> fallback)
    : exact_(std::move(exact)), wildcards_(std::move(wildcards)), fallback_(std::move(fallback)) {}

RouteTable RouteTable::build(std::vector<LiveRoute> routes) {
  Edit edit{RouteTable()};
  for (LiveRoute& route : routes) edit.put(std::move(route));
  return std::move(edit).finish();
}

const LiveRoute* RouteTable::find(std::string_view name) const {
  if (const LiveRoute* route = exact_.find(name)) return route;
  if (!wildcards_.empty()) {
    // The suffixes from the longest to the shortest, so the first hit is the longest wildcard.
    for (auto dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
      if (const LiveRoute* route = wildcards_.find(name.substr(dot + 1))) return route;
    }
  }
  return fallback_.get();
}

const LiveRoute* RouteTable::by_pattern(const HostPattern& pattern) const {
  switch (pattern.kind()) {
    case PatternKind::kExact:
      return exact_.find(pattern.host());
    case PatternKind::kWildcard:
      return wildcards_.find(pattern.host());
    case PatternKind::kFallback:
      return fallback_.get();
  }
  std::unreachable();
}

RouteTable RouteTable::with(LiveRoute route) const {
  Edit edit(*this);
  edit.put(std::move(route));
  return std::move(edit).finish();
}

RouteTable RouteTable::without(const HostPattern& pattern) const {
  Edit edit(*this);
  edit.remove(pattern);
  return std::move(edit).finish();
}

std::size_t RouteTable::size() const {
  return exact_.size() + wildcards_.size() + (fallback_ ? 1 : 0);
}

void RouteTable::for_each(const std::function<void(const LiveRoute&)>& visit) const {
  exact_.for_each(visit);
  wildcards_.for_each(visit);
  if (fallback_) visit(*fallback_);
}

std::vector<const LiveRoute*> RouteTable::sorted() const {
  std::vector<const LiveRoute*> routes;
  routes.reserve(size());
  for_each([&routes](const LiveRoute& route) { routes.push_back(&route); });
  std::ranges::sort(
      routes, {}, [](const LiveRoute* route) -> const HostPattern& { return route->spec.pattern; });
  return routes;
}

RouteTable::Edit::Edit(const RouteTable& base)
    : exact_(base.exact_), wildcards_(base.wildcards_), fallback_(base.fallback_) {}

void RouteTable::Edit::put(LiveRoute route) {
  switch (route.spec.pattern.kind()) {
    case PatternKind::kExact:
      return exact_.put(std::move(route));
    case PatternKind::kWildcard:
      return wildcards_.put(std::move(route));
    case PatternKind::kFallback:
      fallback_ = std::make_shared<const LiveRoute>(std::move(route));
      return;
  }
  std::unreachable();
}

bool RouteTable::Edit::remove(const HostPattern& pattern) {
  switch (pattern.kind()) {
    case PatternKind::kExact:
      return exact_.remove(pattern.host());
    case PatternKind::kWildcard:
      return wildcards_.remove(pattern.host());
    case PatternKind::kFallback:
      return std::exchange(fallback_, nullptr) != nullptr;
  }
  std::unreachable();
}

RouteTable RouteTable::Edit::finish() && {
  return RouteTable(std::move(exact_).finish(), std::move(wildcards_).finish(),
                    std::move(fallback_));
}

}  // namespace mc::policy
