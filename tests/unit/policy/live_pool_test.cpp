// SPDX-License-Identifier: Apache-2.0
#include "policy/live_pool.hpp"
#include "policy/limits.hpp"

#include <optional>
#include <string>

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
  const LivePool second(changed, &first, kNow);
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
  const LivePool after(spec, &before, kNow);
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
  const LivePool after(spec, &before, kNow);
  CHECK(after.weight_of(after.backends()[0], kNow + 5s) == 50);
  CHECK(after.weight_of(after.backends()[1], kNow + 5s) == 100);
}

}  // namespace
}  // namespace mc::policy
