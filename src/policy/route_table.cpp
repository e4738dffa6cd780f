// SPDX-License-Identifier: Apache-2.0
#include "policy/route_table.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace mc::policy {
namespace {

/// The few rules of form that can be checked without knowing what a host name is.
bool is_well_formed(const Route& route) {
  if (route.is_fallback()) return true;
  const std::string_view host = route.host();
  return !host.empty() && !host.contains('*') && host.front() != '.' && host.back() != '.';
}

}  // namespace

std::string_view to_string(MatchKind kind) {
  switch (kind) {
    case MatchKind::kExact:
      return "exact";
    case MatchKind::kWildcard:
      return "wildcard";
    case MatchKind::kFallback:
      return "fallback";
  }
  std::unreachable();
}

RouteTable::RouteTable(RouteSet exact, RouteSet wildcards, std::shared_ptr<const Route> fallback)
    : exact_(std::move(exact)), wildcards_(std::move(wildcards)), fallback_(std::move(fallback)) {}

RouteTable RouteTable::build(std::vector<Route> routes) {
  Edit edit{RouteTable()};
  for (Route& route : routes) edit.put(std::move(route));
  return std::move(edit).finish();
}

std::optional<RouteMatch> RouteTable::find(std::string_view name) const {
  if (const Route* route = exact_.find(name)) return RouteMatch{route, MatchKind::kExact};
  if (!wildcards_.empty()) {
    // The suffixes from the longest to the shortest, so the first hit is the longest wildcard.
    for (auto dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
      const Route* route = wildcards_.find(name.substr(dot + 1));
      if (route != nullptr) return RouteMatch{route, MatchKind::kWildcard};
    }
  }
  if (fallback_) return RouteMatch{fallback_.get(), MatchKind::kFallback};
  return std::nullopt;
}

const Route* RouteTable::by_pattern(std::string_view pattern) const {
  if (pattern == kFallbackPattern) return fallback_.get();
  if (!pattern.starts_with(kWildcardPrefix)) return exact_.find(pattern);
  return wildcards_.find(pattern.substr(kWildcardPrefix.size()));
}

RouteTable RouteTable::with(Route route) const {
  Edit edit(*this);
  edit.put(std::move(route));
  return std::move(edit).finish();
}

RouteTable RouteTable::without(std::string_view pattern) const {
  Edit edit(*this);
  edit.remove(pattern);
  return std::move(edit).finish();
}

std::size_t RouteTable::size() const {
  return exact_.size() + wildcards_.size() + (fallback_ ? 1 : 0);
}

void RouteTable::for_each(const std::function<void(const Route&)>& visit) const {
  exact_.for_each(visit);
  wildcards_.for_each(visit);
  if (fallback_) visit(*fallback_);
}

std::vector<const Route*> RouteTable::sorted() const {
  std::vector<const Route*> routes;
  routes.reserve(size());
  for_each([&routes](const Route& route) { routes.push_back(&route); });
  std::ranges::sort(routes, {},
                    [](const Route* route) { return std::string_view(route->pattern); });
  return routes;
}

RouteTable::Edit::Edit(const RouteTable& base)
    : exact_(base.exact_), wildcards_(base.wildcards_), fallback_(base.fallback_) {}

void RouteTable::Edit::put(Route route) {
  MC_ASSERT(is_well_formed(route), "a pattern reached the routes without validation");
  if (route.is_fallback()) {
    fallback_ = std::make_shared<const Route>(std::move(route));
  } else if (route.is_wildcard()) {
    wildcards_.put(std::move(route));
  } else {
    exact_.put(std::move(route));
  }
}

bool RouteTable::Edit::remove(std::string_view pattern) {
  if (pattern == kFallbackPattern) return std::exchange(fallback_, nullptr) != nullptr;
  if (!pattern.starts_with(kWildcardPrefix)) return exact_.remove(pattern);
  return wildcards_.remove(pattern.substr(kWildcardPrefix.size()));
}

RouteTable RouteTable::Edit::finish() && {
  return RouteTable(std::move(exact_).finish(), std::move(wildcards_).finish(),
                    std::move(fallback_));
}

}  // namespace mc::policy
