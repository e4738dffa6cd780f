// SPDX-License-Identifier: Apache-2.0
#include "traffic/facts.hpp"

#include <string_view>
#include <utility>

namespace mc::traffic {

std::string ConnectionFacts::route() const {
  if (!has_route()) return {};
  return policy::HostPattern::to_text(route_kind, std::string_view(name).substr(suffix_at));
}

std::string_view ConnectionFacts::pool() const {
  if (pooled == nullptr) return {};
  return pooled->backend != nullptr ? pooled->backend->pool() : *pooled->name;
}

std::optional<BackendAddress> ConnectionFacts::backend() const {
  if (!has_route() || (pooled != nullptr && pooled->backend == nullptr)) return std::nullopt;
  return unresolved != nullptr ? *unresolved : BackendAddress(backend_address);
}

void ConnectionFacts::take_route(const policy::LiveRoute& route) {
  const policy::HostPattern& pattern = route.spec.pattern;
  route_kind = pattern.kind();
  suffix_at = static_cast<std::uint8_t>(name.size() - pattern.host().size());
  route_counts = route.counts;
  if (const auto* const backend = route.spec.backend()) {
    resolve(*backend);
  } else {
    pooled = std::make_unique<PoolFacts>();
    pooled->name = std::make_unique<const std::string>(*route.spec.pool());
  }
}

void ConnectionFacts::take_backend(std::shared_ptr<policy::BackendState> state) {
  resolve(state->address());
  pooled->backend = std::move(state);
  pooled->name.reset();
}

void ConnectionFacts::resolve(const BackendAddress& backend) {
  const auto address = backend.resolve();
  backend_address = address.value_or(backend.address());
  unresolved = address.has_value() ? nullptr : std::make_unique<const BackendAddress>(backend);
}

namespace {

std::uint32_t tries_of(const ConnectionFacts& facts) {
  if (facts.pooled != nullptr) return facts.pooled->tries;
  return facts.stage == Stage::kHello ? 0 : 1;
}

}  // namespace

Connection describe(const ConnectionFacts& facts, Instant now) {
  return {.id = facts.id(),
          .listener = facts.listener,
          .client = facts.client(),
          .sni = facts.name,
          .route = facts.route(),
          .pool = std::string(facts.pool()),
          .backend = facts.backend(),
          .tries = tries_of(facts),
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
  if (filter.pool.has_value() && facts.pool() != *filter.pool) return false;
  return !filter.sni.has_value() || filter.sni->matches(facts.name);
}

}  // namespace mc::traffic
