// SPDX-License-Identifier: Apache-2.0
#include "policy/pattern_routes.hpp"

#include <algorithm>

namespace mc::policy {
namespace {

const RouteMatch& match_of(const LiveRoute& route) { return route.spec.match; }

}  // namespace

const LiveRoute* PatternRoutes::best_of_matching(const RouteQuery& client) const {
  const LiveRoute* best = plain_ ? &*plain_ : nullptr;
  MatchRank best_rank;  // that of the plain one: below each of the others
  for (const LiveRoute& route : *matching_) {
    const auto rank = rank_of(route.spec.match, client);
    if (!rank || *rank <= best_rank) continue;
    best = &route;
    best_rank = *rank;
  }
  return best;
}

const LiveRoute* PatternRoutes::by_match(const RouteMatch& match) const {
  if (match.empty()) return plain_ ? &*plain_ : nullptr;
  if (matching_ == nullptr) return nullptr;
  const auto found = std::ranges::lower_bound(*matching_, match, {}, match_of);
  return found != matching_->end() && found->spec.match == match ? &*found : nullptr;
}

void PatternRoutes::put(LiveRoute route) {
  if (route.spec.match.empty()) {
    plain_.emplace(std::move(route));
    return;
  }
  auto next = matching_ ? std::make_shared<std::vector<LiveRoute>>(*matching_)
                        : std::make_shared<std::vector<LiveRoute>>();
  const auto place = std::ranges::lower_bound(*next, route.spec.match, {}, match_of);
  if (place != next->end() && place->spec.match == route.spec.match) {
    *place = std::move(route);
  } else {
    next->insert(place, std::move(route));
  }
  matching_ = std::move(next);
}

PatternRoutes PatternRoutes::with(LiveRoute route) const {
  PatternRoutes next = *this;
  next.put(std::move(route));
  return next;
}

std::optional<PatternRoutes> PatternRoutes::without(const RouteMatch& match) const {
  if (by_match(match) == nullptr) return *this;
  if (size() == 1) return std::nullopt;
  PatternRoutes rest = *this;
  if (match.empty()) {
    rest.plain_.reset();
    return rest;
  }
  auto next = std::make_shared<std::vector<LiveRoute>>(*matching_);
  std::erase_if(*next, [&](const LiveRoute& route) { return route.spec.match == match; });
  rest.matching_ = next->empty() ? nullptr : std::move(next);
  return rest;
}

void PatternRoutes::for_each(const std::function<void(const LiveRoute&)>& visit) const {
  if (plain_) visit(*plain_);
  if (matching_) std::ranges::for_each(*matching_, visit);
}

}  // namespace mc::policy
