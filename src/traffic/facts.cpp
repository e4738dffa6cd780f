// SPDX-License-Identifier: Apache-2.0
#include "traffic/facts.hpp"

#include "policy/route.hpp"

namespace mc::traffic {

std::string ConnectionFacts::route() const {
  if (!has_route()) return {};
  switch (route_kind) {
    case policy::MatchKind::kExact:
      return name;
    case policy::MatchKind::kWildcard:
      return std::string(policy::kWildcardPrefix) + name.substr(suffix_at);
    case policy::MatchKind::kFallback:
      break;
  }
  return std::string(policy::kFallbackPattern);
}

std::optional<BackendAddress> ConnectionFacts::backend() const {
  if (!has_route()) return std::nullopt;
  return unresolved != nullptr ? *unresolved : BackendAddress(backend_address);
}

void ConnectionFacts::take_route(const policy::RouteMatch& match) {
  route_kind = match.kind;
  if (route_kind == policy::MatchKind::kWildcard) {
    suffix_at = static_cast<std::uint8_t>(name.size() - match.route->host().size());
  }
  const BackendAddress& backend = match.route->backend;
  const auto address = backend.resolve();
  backend_address = address.value_or(backend.address());
  if (!address.has_value()) unresolved = std::make_unique<const BackendAddress>(backend);
  usage = match.route->usage;
}

Connection describe(const ConnectionFacts& facts, Instant now) {
  return {.id = facts.id(),
          .listener = facts.listener,
          .client = facts.client(),
          .sni = facts.name,
          .route = facts.route(),
          .backend = facts.backend(),
          .stage = facts.stage,
          .age = now - facts.accepted_at,
          .idle = now - facts.moved_at,
          .bytes_up = facts.bytes_up,
          .bytes_down = facts.bytes_down};
}

bool matches(const ConnectionFilter& filter, const ConnectionFacts& facts) {
  if (filter.id.has_value() && facts.id() != *filter.id) return false;
  if (filter.listener.has_value() && facts.listener != *filter.listener) return false;
  if (filter.source.has_value() && !filter.source->contains(facts.client().ip())) return false;
  if (filter.backend.has_value() && facts.backend() != filter.backend) return false;
  return !filter.sni.has_value() || covers(*filter.sni, facts.name);
}

}  // namespace mc::traffic
