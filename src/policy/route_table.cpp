// SPDX-License-Identifier: Apache-2.0
#include "policy/route_table.hpp"

#include <algorithm>
#include <utility>

namespace mc::policy {

RouteTable::RouteTable(RouteSet exact, RouteSet wildcards,
                       std::shared_ptr<const PatternRoutes> fallback)
    : exact_(std::move(exact)), wildcards_(std::move(wildcards)), fallback_(std::move(fallback)) {}

RouteTable RouteTable::build(std::vector<LiveRoute> routes) {
  Edit edit{RouteTable()};
  for (LiveRoute& route : routes) edit.put(std::move(route));
  return std::move(edit).finish();
}

template <class Take>
void RouteTable::visit_patterns(std::string_view name, Take take) const {
  if (const PatternRoutes* routes = exact_.find(name); routes != nullptr && take(*routes)) return;
  if (!wildcards_.empty()) {
    // The suffixes from the longest to the shortest, so the first hit is the longest wildcard.
    for (auto dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
      const PatternRoutes* const routes = wildcards_.find(name.substr(dot + 1));
      if (routes != nullptr && take(*routes)) return;
    }
  }
  if (fallback_) take(*fallback_);
}

const LiveRoute* RouteTable::find(const RouteQuery& client) const {
  const LiveRoute* found = nullptr;
  visit_patterns(client.name, [&](const PatternRoutes& routes) {
    found = routes.find(client);
    return found != nullptr;
  });
  return found;
}

bool RouteTable::covers(std::string_view name) const {
  bool is_covered = false;
  visit_patterns(name, [&](const PatternRoutes&) { return is_covered = true; });
  return is_covered;
}

const PatternRoutes* RouteTable::by_pattern(const HostPattern& pattern) const {
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

const LiveRoute* RouteTable::by_key(const HostPattern& pattern, const RouteMatch& match) const {
  const PatternRoutes* const routes = by_pattern(pattern);
  return routes != nullptr ? routes->by_match(match) : nullptr;
}

RouteTable RouteTable::with(LiveRoute route) const {
  Edit edit(*this);
  edit.put(std::move(route));
  return std::move(edit).finish();
}

RouteTable RouteTable::without(const HostPattern& pattern, const RouteMatch& match) const {
  Edit edit(*this);
  edit.remove(pattern, match);
  return std::move(edit).finish();
}

std::size_t RouteTable::size() const {
  return exact_.size() + wildcards_.size() + (fallback_ ? fallback_->size() : 0);
}

void RouteTable::for_each(const std::function<void(const LiveRoute&)>& visit) const {
  exact_.for_each(visit);
  wildcards_.for_each(visit);
  if (fallback_) fallback_->for_each(visit);
}

std::vector<const LiveRoute*> RouteTable::sorted() const {
  std::vector<const LiveRoute*> routes;
  routes.reserve(size());
  for_each([&routes](const LiveRoute& route) { routes.push_back(&route); });
  std::ranges::sort(routes, {}, [](const LiveRoute* route) { return key_of(route->spec); });
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
      fallback_ = std::make_shared<const PatternRoutes>(
          fallback_ ? fallback_->with(std::move(route)) : PatternRoutes(std::move(route)));
      return;
  }
  std::unreachable();
}

bool RouteTable::Edit::remove(const HostPattern& pattern, const RouteMatch& match) {
  switch (pattern.kind()) {
    case PatternKind::kExact:
      return exact_.remove(pattern.host(), match);
    case PatternKind::kWildcard:
      return wildcards_.remove(pattern.host(), match);
    case PatternKind::kFallback:
      return remove_from_fallback(match);
  }
  std::unreachable();
}

bool RouteTable::Edit::remove_from_fallback(const RouteMatch& match) {
  if (fallback_ == nullptr || fallback_->by_match(match) == nullptr) return false;
  auto rest = fallback_->without(match);
  fallback_ = rest ? std::make_shared<const PatternRoutes>(*std::move(rest)) : nullptr;
  return true;
}

RouteTable RouteTable::Edit::finish() && {
  return RouteTable(std::move(exact_).finish(), std::move(wildcards_).finish(),
                    std::move(fallback_));
}

}  // namespace mc::policy
