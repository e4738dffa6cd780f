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

  REQUIRE(policy.route(0, {.name = "app.example.com"}));
  CHECK(policy.route(0, {.name = "app.example.com"})->spec.backend()->port() == 1);
  CHECK_FALSE(policy.route(0, {.name = "www.example.com"}));
  REQUIRE(policy.route(1, {.name = "app.example.com"}));
  CHECK(policy.route(1, {.name = "app.example.com"})->spec.backend()->port() == 2);
}

TEST_CASE("a policy routes by what a client offers and where it comes from") {
  LiveRoute acme = route("app.example.com", 2);
  acme.spec.match = match_of("alpn=acme-tls/1 source=192.0.2.0/24");
  const Policy policy(1, std::make_shared<const Firewall>(),
                      {RouteTable::build({route("app.example.com", 1), acme})});
  const Offer offer("acme-tls/1");
  RouteQuery client{.name = "app.example.com",
                    .alpn = offer.list(),
                    .client = IpAddress::parse("192.0.2.7").value()};
  CHECK(policy.route(0, client)->spec.backend()->port() == 2);
  client.client = IpAddress::parse("198.51.100.7").value();
  CHECK(policy.route(0, client)->spec.backend()->port() == 1);
  CHECK(policy.covers(0, "app.example.com"));
  CHECK_FALSE(policy.covers(0, "www.example.com"));
}

TEST_CASE("successive policies share the parts that did not change") {
  const Policy first(1, std::make_shared<const Firewall>(),
                     {RouteTable::build({route("a.example.com", 1)}),
                      RouteTable::build({route("b.example.com", 2)})});
  auto routes = first.routes();
  routes[1] = routes[1].with(route("c.example.com", 3));
  const Policy second(2, first.firewall(), std::move(routes));

  CHECK(second.firewall() == first.firewall());
  CHECK(second.route(0, {.name = "a.example.com"}) == first.route(0, {.name = "a.example.com"}));
  CHECK(second.route(1, {.name = "c.example.com"}));
  CHECK_FALSE(first.route(1, {.name = "c.example.com"}));
}

}  // namespace mc::policy
