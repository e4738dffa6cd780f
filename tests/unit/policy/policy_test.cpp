// SPDX-License-Identifier: Apache-2.0
#include "policy/policy.hpp"

#include <memory>
#include <vector>

#include "support/catch.hpp"
#include "unit/policy/routes.hpp"

namespace mc::policy {
namespace {

LiveRoute route(const char* pattern, std::uint16_t port) {
  return live_route(pattern, SocketAddress(IpAddress::v4(0x7f000001), port));
}

}  // namespace

TEST_CASE("a policy admits by its firewall and routes by the table of the listener") {
  const IpAddress blocked = IpAddress::v4(0xcb007132);
  const Policy policy(
      7,
      std::make_shared<const Firewall>(
          FirewallRules{.ips = {blocked}, .cidrs = {}, .countries = {}}),
      {RouteTable::build({route("app.example.com", 1)}), RouteTable::build({route("*", 2)})});

  CHECK(policy.revision() == 7);
  CHECK(policy.admit(blocked) == Verdict::kBlockedIp);
  CHECK(policy.admit(IpAddress::v4(0xcb007133)) == Verdict::kAllowed);

  REQUIRE(policy.route(0, "app.example.com"));
  CHECK(policy.route(0, "app.example.com")->spec.backend()->port() == 1);
  CHECK_FALSE(policy.route(0, "www.example.com"));
  REQUIRE(policy.route(1, "app.example.com"));
  CHECK(policy.route(1, "app.example.com")->spec.backend()->port() == 2);
}

TEST_CASE("successive policies share the parts that did not change") {
  const Policy first(1, std::make_shared<const Firewall>(),
                     {RouteTable::build({route("a.example.com", 1)}),
                      RouteTable::build({route("b.example.com", 2)})});
  auto routes = first.routes();
  routes[1] = routes[1].with(route("c.example.com", 3));
  const Policy second(2, first.firewall(), std::move(routes));

  CHECK(second.firewall() == first.firewall());
  CHECK(second.route(0, "a.example.com") == first.route(0, "a.example.com"));
  CHECK(second.route(1, "c.example.com"));
  CHECK_FALSE(first.route(1, "c.example.com"));
}

}  // namespace mc::policy
