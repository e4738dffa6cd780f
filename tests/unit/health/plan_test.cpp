// SPDX-License-Identifier: Apache-2.0
#include "health/plan.hpp"

#include <memory>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "unit/health/pools.hpp"

using namespace mc;
using namespace mc::health;
using namespace mc::health::testing;

namespace {

const SocketAddress kOne = *SocketAddress::parse("192.0.2.1:443");
const SocketAddress kTwo = *SocketAddress::parse("192.0.2.2:443");

std::vector<std::string> keys(const Plan& plan) {
  std::vector<std::string> all;
  for (const Planned& planned : plan.targets) {
    CHECK(planned.key == key_of(planned.target));
    all.push_back(planned.key + " x" + std::to_string(planned.members.size()));
  }
  return all;
}

using Keys = std::vector<std::string>;

}  // namespace

TEST_CASE("pools with the same address, kind and name have one target together") {
  const auto tls = quick_check(CheckKind::kTls);
  auto other_name = tls;
  other_name.name = "other.example.com";
  const auto pools =
      live({pool_of("a", tls, {kOne, kTwo}), pool_of("b", tls, {kOne}),
            pool_of("c", other_name, {kOne}), pool_of("d", quick_check(CheckKind::kTcp), {kOne})});
  CHECK(keys(plan_checks(*pools, 100)) == Keys{"tls none app.example.com 192.0.2.1:443 x2",
                                               "tls none app.example.com 192.0.2.2:443 x1",
                                               "tls none other.example.com 192.0.2.1:443 x1",
                                               "tcp none  192.0.2.1:443 x1"});
}

TEST_CASE("the name does not matter to a check that sends none") {
  auto named = quick_check(CheckKind::kTcp);
  named.name = "unused.example.com";
  const auto pools =
      live({pool_of("a", named, {kOne}), pool_of("b", quick_check(CheckKind::kTcp), {kOne})});
  CHECK(keys(plan_checks(*pools, 100)) == Keys{"tcp none  192.0.2.1:443 x2"});
}

TEST_CASE("pools without checks and backends in maintenance are not checked, drained ones are") {
  auto pool = pool_of("a", quick_check(CheckKind::kTcp), {kOne, kTwo});
  pool.backends[0].state = policy::AdminState::kMaintenance;
  pool.backends[1].state = policy::AdminState::kDrain;
  const auto pools = live({pool, pool_of("b", quick_check(CheckKind::kNone), {kOne})});
  CHECK(keys(plan_checks(*pools, 100)) == Keys{"tcp none  192.0.2.2:443 x1"});
}

TEST_CASE("targets beyond the limit are left out, further backends of known targets are not") {
  const auto tcp = quick_check(CheckKind::kTcp);
  const auto pools = live({pool_of("a", tcp, {kOne, kTwo}), pool_of("b", tcp, {kTwo, kOne})});
  const Plan plan = plan_checks(*pools, 1);
  CHECK(keys(plan) == Keys{"tcp none  192.0.2.1:443 x2"});
  CHECK(plan.left_out == 2);
}

TEST_CASE("a pool that sends PROXY headers has targets of its own") {
  auto with_header = pool_of("a", quick_check(CheckKind::kTcp), {kOne});
  with_header.settings.send_proxy = policy::SendProxy::kV2;
  const auto pools = live({with_header, pool_of("b", quick_check(CheckKind::kTcp), {kOne})});
  CHECK(keys(plan_checks(*pools, 100)) ==
        Keys{"tcp v2  192.0.2.1:443 x1", "tcp none  192.0.2.1:443 x1"});
}

TEST_CASE("each address of a name is checked") {
  policy::Pool pool{.name = "a", .settings = {}, .backends = {}};
  pool.settings.check = quick_check(CheckKind::kTcp);
  pool.backends.push_back({.address = policy::parse_pool_address("app.internal:443").value()});
  const policy::ResolvedNames resolved{{"app.internal", {kOne.ip(), kTwo.ip()}}};
  const policy::LivePools pools{
      {"a", std::make_shared<const policy::LivePool>(pool, resolved, nullptr, Instant())}};
  CHECK(keys(plan_checks(pools, 100)) ==
        Keys{"tcp none  192.0.2.1:443 x1", "tcp none  192.0.2.2:443 x1"});
}
