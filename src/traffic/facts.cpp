// SPDX-License-Identifier: Apache-2.0
#include "traffic/facts.hpp"

#include <string_view>
#include <utility>

namespace mc::traffic {

std::string ConnectionFacts::route() const {
  switch (way) {
    case Way::kUndecided:
      return {};
    case Way::kRoute:
      return policy::HostPattern::to_text(route_kind, std::string_view(name).substr(suffix_at));
    case Way::kNoSni:
      return "no_sni";
    case Way::kNotTls:
      return "not_tls";
    case Way::kSilent:
      return "silent";
    case Way::kChallenge:
      return "challenge";
    case Way::kRedirect:
      return "redirect";
  }
  std::unreachable();
}

std::string_view ConnectionFacts::pool() const {
  if (pooled == nullptr) return {};
  return pooled->backend != nullptr ? pooled->backend->pool() : *pooled->name;
}

std::optional<BackendAddress> ConnectionFacts::backend() const {
  if (!has_way() || way == Way::kRedirect) return std::nullopt;
  if (pooled != nullptr && pooled->backend == nullptr) return std::nullopt;
  if (rare != nullptr && rare->backend.has_value()) return rare->backend;
  return BackendAddress(backend_address);
}

void ConnectionFacts::take_route(const policy::LiveRoute& route) {
  way = Way::kRoute;
  const policy::HostPattern& pattern = route.spec.pattern;
  route_kind = pattern.kind();
  suffix_at = static_cast<std::uint8_t>(name.size() - pattern.host().size());
  route_counts = route.counts;
  if (const auto* const backend = route.spec.backend()) {
    resolve(*backend);
  } else {
    take_pool(*route.spec.pool());
  }
}

void ConnectionFacts::take_way(Way other, std::string pool) {
  way = other;
  take_pool(std::move(pool));
}

void ConnectionFacts::take_pool(std::string pool) {
  pooled = std::make_unique<PoolFacts>();
  pooled->name = std::make_unique<const std::string>(std::move(pool));
}

void ConnectionFacts::take_backend(std::shared_ptr<policy::BackendState> state) {
  resolve(state->address());
  pooled->backend = std::move(state);
  pooled->name.reset();
}

void ConnectionFacts::resolve(const BackendAddress& backend) {
  const auto address = backend.resolve();
  const bool is_ip = address.has_value() && !address->is_unix();
  backend_address = is_ip ? address->ip_address() : backend.address();
  if (!is_ip) {
    more().backend = backend;
  } else if (rare != nullptr) {
    rare->backend.reset();
  }
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
          .via = facts.is_conveyed() ? std::optional(facts.peer) : std::nullopt,
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
