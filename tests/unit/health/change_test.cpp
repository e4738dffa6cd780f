// SPDX-License-Identifier: Apache-2.0
#include "health/change.hpp"

#include "support/catch.hpp"
#include "unit/health/pools.hpp"

using namespace mc;
using namespace mc::health;
using namespace mc::health::testing;

namespace {

struct TwoBackends {
  explicit TwoBackends(policy::OnDown on_down) : pools(made(on_down)) {
    state_of(*pools, "app").set_health(Health::kDown, "Connection refused", Clock::now());
  }

  static std::shared_ptr<const policy::LivePools> made(policy::OnDown on_down) {
    auto pool =
        pool_of("app", quick_check(CheckKind::kTcp),
                {*SocketAddress::parse("192.0.2.1:443"), *SocketAddress::parse("192.0.2.2:443")});
    pool.settings.on_down = on_down;
    return live({pool});
  }
  [[nodiscard]] Change went_down() const {
    return {.pool = pools->at("app"),
            .backend = pools->at("app")->backends()[0].state,
            .before = Health::kUp,
            .after = Health::kDown,
            .why = {}};
  }

  std::shared_ptr<const policy::LivePools> pools;
};

}  // namespace

TEST_CASE("connections of a backend that went down are reset where the pool says so") {
  CHECK(calls_for_reset(TwoBackends(policy::OnDown::kReset).went_down(), Clock::now()));
  CHECK_FALSE(calls_for_reset(TwoBackends(policy::OnDown::kKeep).went_down(), Clock::now()));
}

TEST_CASE("they are not while every backend of the pool is down, nor when one comes up") {
  const TwoBackends backends(policy::OnDown::kReset);
  Change change = backends.went_down();
  change.after = Health::kUp;
  CHECK_FALSE(calls_for_reset(change, Clock::now()));
  state_of(*backends.pools, "app", 1).set_health(Health::kDown, "", Clock::now());
  CHECK_FALSE(calls_for_reset(backends.went_down(), Clock::now()));
}
