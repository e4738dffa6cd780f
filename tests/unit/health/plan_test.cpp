// SPDX-License-Identifier: Apache-2.0
#include "health/plan.hpp"

#include <string>

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
  CHECK(keys(plan_checks(*pools, 100)) ==
        Keys{"tls 192.0.2.1:443 app.example.com x2", "tls 192.0.2.2:443 app.example.com x1",
             "tls 192.0.2.1:443 other.example.com x1", "tcp 192.0.2.1:443  x1"});
}

TEST_CASE("the name does not matter to a check that sends none") {
  auto named = quick_check(CheckKind::kTcp);
  named.name = "unused.example.com";
  const auto pools =
      live({pool_of("a", named, {kOne}), pool_of("b", quick_check(CheckKind::kTcp), {kOne})});
  CHECK(keys(plan_checks(*pools, 100)) == Keys{"tcp 192.0.2.1:443  x2"});
}

TEST_CASE("pools without checks and backends in maintenance are not checked, drained ones are") {
  auto pool = pool_of("a", quick_check(CheckKind::kTcp), {kOne, kTwo});
  pool.backends[0].state = policy::AdminState::kMaintenance;
  pool.backends[1].state = policy::AdminState::kDrain;
  const auto pools = live({pool, pool_of("b", quick_check(CheckKind::kNone), {kOne})});
  CHECK(keys(plan_checks(*pools, 100)) == Keys{"tcp 192.0.2.2:443  x1"});
}

TEST_CASE("targets beyond the limit are left out, further backends of known targets are not") {
  const auto tcp = quick_check(CheckKind::kTcp);
  const auto pools = live({pool_of("a", tcp, {kOne, kTwo}), pool_of("b", tcp, {kTwo, kOne})});
  const Plan plan = plan_checks(*pools, 1);
  CHECK(keys(plan) == Keys{"tcp 192.0.2.1:443  x2"});
  CHECK(plan.left_out == 2);
}
