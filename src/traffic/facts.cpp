// SPDX-License-Identifier: Apache-2.0
#include "traffic/facts.hpp"

#include <string_view>

namespace mc::traffic {

std::string ConnectionFacts::route() const {
  if (!has_route()) return {};
  return policy::HostPattern::to_text(route_kind, std::string_view(name).substr(suffix_at));
}

std::optional<BackendAddress> ConnectionFacts::backend() const {
  if (!has_route()) return std::nullopt;
  return unresolved != nullptr ? *unresolved : BackendAddress(backend_address);
}

void ConnectionFacts::take_route(const policy::LiveRoute& route) {
  const policy::HostPattern& pattern = route.spec.pattern;
  route_kind = pattern.kind();
  suffix_at = static_cast<std::uint8_t>(name.size() - pattern.host().size());
  const BackendAddress& backend = route.spec.backend;
  const auto address = backend.resolve();
  backend_address = address.value_or(backend.address());
  if (!address.has_value()) unresolved = std::make_unique<const BackendAddress>(backend);
  backend_state = route.state;
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
  return !filter.sni.has_value() || filter.sni->matches(facts.name);
}

}  // namespace mc::traffic
