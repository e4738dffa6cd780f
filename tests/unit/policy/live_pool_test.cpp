// SPDX-License-Identifier: Apache-2.0
#include "policy/live_pool.hpp"
#include "policy/limits.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "unit/policy/pools.hpp"

namespace mc::policy {
namespace {

using namespace std::chrono_literals;

const Instant kNow = Instant() + 1h;

bool fail_until_ejected(const LivePool& pool, std::size_t place, Instant now) {
  BackendState& backend = *pool.backends()[place].state;
  for (std::uint32_t i = 0; i < kFailuresToEject; ++i) {
    if (backend.dial_failed()) return pool.eject(backend, "Connection refused", now).has_value();
  }
  return false;
}

TEST_CASE("a backend that stays in a pool keeps its state, whatever else changes") {
  const LivePool first = live(pool_of({100, 100}));
  Pool changed = first.spec();
  changed.backends.push_back({.address = backend_address(5)});
  changed.backends.erase(changed.backends.begin());
  changed.backends[0].weight = 7;
  const LivePool second(changed, ResolvedNames(), &first, kNow);
  CHECK(second.backends()[0].state == first.backends()[1].state);
  CHECK(second.backends()[1].state != first.backends()[0].state);
  CHECK(second.next_turn() == 0);
  CHECK(first.next_turn() == 1);
}

TEST_CASE("tiers hold what is ready: by weight, backups, without weight") {
  Pool pool = pool_of({100, 100, 0, 50, 100});
  pool.backends[1].state = AdminState::kDrain;
  pool.backends[3].backup = true;
  pool.backends[4].state = AdminState::kMaintenance;
  const LivePool live_pool = live(pool);
  REQUIRE(live_pool.tiers().size() == 3);
  CHECK(live_pool.tiers()[0].members == std::vector<std::uint32_t>{0});
  CHECK(live_pool.tiers()[1].members == std::vector<std::uint32_t>{3});
  CHECK(live_pool.tiers()[2].members == std::vector<std::uint32_t>{2});
}

TEST_CASE("five failures in a row eject, for longer each time, and a success forgives") {
  const LivePool pool = live(pool_of({100, 100, 100}));
  BackendState& backend = *pool.backends()[0].state;
  for (std::uint32_t i = 1; i < kFailuresToEject; ++i) CHECK_FALSE(backend.dial_failed());
  backend.dialled();
  CHECK(fail_until_ejected(pool, 0, kNow));
  CHECK(backend.is_ejected(kNow + kEjection - 1ms));
  CHECK_FALSE(backend.is_ejected(kNow + kEjection));
  const auto shown = backend.shown(kNow);
  CHECK(shown.is_ejected);
  CHECK(shown.why == "Connection refused");
  CHECK(shown.since == kNow);

  const Instant later = kNow + kEjection;
  CHECK(backend.dial_failed());  // the first one is enough now
  CHECK(pool.eject(backend, "again", later) == 2 * kEjection);
  backend.dialled();
  CHECK(fail_until_ejected(pool, 0, later + 2 * kEjection));
  CHECK_FALSE(backend.is_ejected(later + 3 * kEjection));
}

TEST_CASE("ejections stay below a limit") {
  const LivePool pool = live(pool_of({100, 100}));
  BackendState& backend = *pool.backends()[0].state;
  Instant now = kNow;
  for (int i = 0; i < 100; ++i) {
    const auto time = pool.eject(backend, "", now);
    REQUIRE(time.has_value());
    CHECK(*time <= kEjectionMax);
    now += *time;
  }
}

TEST_CASE("at most half of the ready backends are ejected, and never the only one") {
  const LivePool one = live(pool_of({100}));
  CHECK_FALSE(fail_until_ejected(one, 0, kNow));

  Pool spec = pool_of({100, 100, 100, 100, 100});
  spec.backends[4].state = AdminState::kDrain;
  const LivePool four = live(spec);
  CHECK(fail_until_ejected(four, 0, kNow));
  CHECK_FALSE(four.eject(*four.backends()[0].state, "", kNow).has_value());  // it is out
  four.backends()[1].state->set_health(Health::kDown, "", kNow);
  CHECK_FALSE(fail_until_ejected(four, 2, kNow));
  CHECK(four.backends()[3].state->is_alive(kNow));
}

TEST_CASE("a backend that has left, or is not ready any more, is not ejected") {
  const LivePool before = live(pool_of({100, 100, 100, 100}));
  Pool spec = before.spec();
  spec.backends[0].state = AdminState::kDrain;
  spec.backends.erase(spec.backends.begin() + 1);
  const LivePool after(spec, ResolvedNames(), &before, kNow);
  CHECK(before.ready_count() == 4);
  CHECK(after.ready_count() == 2);
  for (const std::size_t place : {0U, 1U}) {
    CAPTURE(place);
    BackendState& backend = *before.backends()[place].state;
    CHECK_FALSE(after.eject(backend, "Connection refused", kNow).has_value());
    CHECK_FALSE(backend.is_ejected(kNow));
  }
}

TEST_CASE("a backend that comes up again is forgiven, and starts slowly") {
  PoolSettings settings;
  settings.slow_start = 10s;
  const LivePool pool = live(pool_of({100, 100}, settings));
  const LiveBackend& backend = pool.backends()[0];
  CHECK(pool.weight_of(backend, kNow) == 100);  // not at the start
  CHECK(fail_until_ejected(pool, 0, kNow));
  backend.state->set_health(Health::kDown, "Connection refused", kNow);
  CHECK_FALSE(backend.state->is_alive(kNow));
  backend.state->set_health(Health::kUp, "ServerHello", kNow + 1s);
  CHECK(backend.state->is_alive(kNow + 1s));
  CHECK(pool.weight_of(backend, kNow + 1s) == 1);
  CHECK(pool.weight_of(backend, kNow + 6s) == 50);
  CHECK(pool.weight_of(backend, kNow + 11s) == 100);
  CHECK(backend.state->shown(kNow + 6s).since == kNow + 1s);
}

TEST_CASE("a backend that an operator makes ready again starts slowly") {
  PoolSettings settings;
  settings.slow_start = 10s;
  Pool spec = pool_of({100, 100}, settings);
  spec.backends[0].state = AdminState::kMaintenance;
  const LivePool before = live(spec);
  spec.backends[0].state = AdminState::kReady;
  const LivePool after(spec, ResolvedNames(), &before, kNow);
  CHECK(after.weight_of(after.backends()[0], kNow + 5s) == 50);
  CHECK(after.weight_of(after.backends()[1], kNow + 5s) == 100);
}

// ---- names

Pool pool_at(const std::vector<std::string>& addresses) {
  Pool pool{.name = "app", .settings = {}, .backends = {}};
  for (const std::string& address : addresses) {
    pool.backends.push_back({.address = parse_pool_address(address).value()});
  }
  return pool;
}

std::vector<IpAddress> ips(const std::vector<std::string>& texts) {
  std::vector<IpAddress> addresses;
  for (const std::string& text : texts) addresses.push_back(IpAddress::parse(text).value());
  return addresses;
}

std::vector<std::string> texts_of(const LivePool& pool) {
  std::vector<std::string> texts;
  for (const LiveBackend& backend : pool.backends()) {
    texts.push_back(backend.spec.address.to_string());
  }
  return texts;
}

TEST_CASE("a name stands as each of its addresses, with the settings of the backend") {
  Pool spec = pool_at({"10.0.0.1:443", "app.internal:8443", "unix:/run/app.sock"});
  spec.backends[1].weight = 7;
  spec.backends[1].max_connections = 9;
  const LivePool pool(spec, {{"app.internal", ips({"10.0.0.2", "2001:db8::2"})}}, nullptr, kNow);
  CHECK(texts_of(pool) == std::vector<std::string>{"10.0.0.1:443", "10.0.0.2:8443",
                                                   "[2001:db8::2]:8443", "unix:/run/app.sock"});
  const LiveBackend& resolved = pool.backends()[2];
  CHECK(resolved.configured == 1);
  CHECK(resolved.spec.weight == 7);
  CHECK(resolved.spec.max_connections == 9);
  CHECK(resolved.state->address().to_string() == "[2001:db8::2]:8443");
  CHECK(pool.backends()[3].configured == 2);
  CHECK(pool.spec() == spec);
  CHECK(pool.unresolved().empty());
  CHECK(pool.ready_count() == 4);
}

TEST_CASE("an address has one seed, whether it is configured or resolved") {
  const LivePool named(pool_at({"app.internal:443"}), {{"app.internal", ips({"10.0.0.1"})}},
                       nullptr, kNow);
  CHECK(named.backends()[0].seed == live(pool_at({"10.0.0.1:443"})).backends()[0].seed);
}

TEST_CASE("an address that stands twice counts once: the first") {
  const Pool spec = pool_at({"a.internal:443", "b.internal:443", "10.0.0.2:443", "10.0.0.1:444"});
  const LivePool pool(
      spec, {{"a.internal", ips({"10.0.0.1"})}, {"b.internal", ips({"10.0.0.1", "10.0.0.2"})}},
      nullptr, kNow);
  CHECK(texts_of(pool) == std::vector<std::string>{"10.0.0.1:443", "10.0.0.2:443", "10.0.0.1:444"});
  CHECK(pool.backends()[1].configured == 2);
}

TEST_CASE("an address that is written counts before the same one of a name, wherever it stands") {
  Pool spec = pool_at({"a.internal:443", "10.0.0.1:443"});
  spec.backends[0].state = AdminState::kDrain;
  const LivePool pool(spec, {{"a.internal", ips({"10.0.0.1", "10.0.0.2"})}}, nullptr, kNow);
  REQUIRE(pool.backends().size() == 2);
  CHECK(pool.backends()[0].spec.address.to_string() == "10.0.0.2:443");
  CHECK(pool.backends()[1].configured == 1);
  CHECK(pool.backends()[1].spec.state == AdminState::kReady);
}

TEST_CASE("a name without an address contributes none, and is told") {
  const LivePool some(pool_at({"a.internal:443", "10.0.0.1:443"}), {}, nullptr, kNow);
  CHECK(texts_of(some) == std::vector<std::string>{"10.0.0.1:443"});
  REQUIRE(some.unresolved().size() == 1);
  CHECK(some.unresolved()[0] == 0);
  const LivePool none(pool_at({"a.internal:443"}), {}, nullptr, kNow);
  CHECK(none.backends().empty());
  CHECK(none.tiers().empty());
}

TEST_CASE("of an answer, only addresses that can be a backend's stand, and not too many") {
  const LivePool blocked(
      pool_at({"a.internal:443"}),
      {{"a.internal", ips({"0.0.0.0", "::", "fe80::1", "ff02::1", "224.0.0.1"})}}, nullptr, kNow);
  CHECK(blocked.backends().empty());
  CHECK(blocked.unresolved().size() == 1);
  std::vector<IpAddress> many;
  for (std::uint32_t i = 1; i <= 200; ++i) many.push_back(IpAddress::v4(0x0a000000 + i));
  const LivePool first(pool_at({"a.internal:443"}), {{"a.internal", many}}, nullptr, kNow);
  CHECK(first.backends().size() == kNameAddressesMax);
  CHECK(texts_of(first).back() == "10.0.0.64:443");
}

TEST_CASE("an address that leaves an answer and returns has its state while a session holds it") {
  const Pool spec = pool_at({"a.internal:443"});
  const LivePool both(spec, {{"a.internal", ips({"10.0.0.1", "10.0.0.2"})}}, nullptr, kNow);
  const auto first = both.backends()[0].state;
  const std::weak_ptr<BackendState> session = both.backends()[1].state;
  std::shared_ptr<BackendState> held = session.lock();
  auto one = std::make_unique<LivePool>(spec, ResolvedNames{{"a.internal", ips({"10.0.0.1"})}},
                                        &both, kNow);
  CHECK(one->backends()[0].state == first);
  const LivePool again(spec, {{"a.internal", ips({"10.0.0.1", "10.0.0.2"})}}, one.get(), kNow);
  CHECK(again.backends()[1].state == held);
  CHECK(again.next_turn() == 0);
  CHECK(both.next_turn() == 1);
}

TEST_CASE("a state that nothing holds is made anew") {
  const Pool spec = pool_at({"a.internal:443"});
  auto both = std::make_unique<LivePool>(
      spec, ResolvedNames{{"a.internal", ips({"10.0.0.1", "10.0.0.2"})}}, nullptr, kNow);
  both->backends()[1].state->counts.connections = 5;
  const LivePool one(spec, {{"a.internal", ips({"10.0.0.1"})}}, both.get(), kNow);
  both.reset();
  const LivePool again(spec, {{"a.internal", ips({"10.0.0.1", "10.0.0.2"})}}, &one, kNow);
  CHECK(again.backends()[1].state->counts.connections == 0);
}

TEST_CASE("only the pools that have a changed name are made anew") {
  LivePools pools;
  for (const auto& [name, address] :
       {std::pair("a", "a.internal:443"), std::pair("b", "b.internal:443"),
        std::pair("ip", "10.0.0.1:443")}) {
    Pool spec = pool_at({address});
    spec.name = name;
    pools.emplace(name, std::make_shared<const LivePool>(spec, ResolvedNames(), nullptr, kNow));
  }
  CHECK(names_of(pools) == std::vector<std::string>{"a.internal", "b.internal"});
  const ResolvedNames resolved{{"b.internal", ips({"10.0.0.9"})}};
  const auto next =
      with_resolved(pools, std::vector<std::string>{"b.internal", "c.internal"}, resolved, kNow);
  REQUIRE(next != nullptr);
  CHECK(next->at("a") == pools.at("a"));
  CHECK(next->at("ip") == pools.at("ip"));
  CHECK(texts_of(*next->at("b")) == std::vector<std::string>{"10.0.0.9:443"});
  CHECK(with_resolved(pools, std::vector<std::string>{"c.internal"}, resolved, kNow) == nullptr);
}

}  // namespace
}  // namespace mc::policy
