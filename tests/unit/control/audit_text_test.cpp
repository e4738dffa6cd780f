// SPDX-License-Identifier: Apache-2.0
#include "control/audit_text.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "control/limits.hpp"
#include "support/catch.hpp"
#include "unit/policy/pools.hpp"
#include "unit/policy/routes.hpp"

namespace mc::control {
namespace {

const Listeners kListeners{{{.name = ":443", .addr = *SocketAddress::parse_listen(":443")},
                            {.name = ":8443", .addr = *SocketAddress::parse_listen(":8443")}}};

Rule rule(RuleType type, std::string_view value) { return *Rule::parse(type, value); }

Difference::RouteChange change(std::size_t listener, std::string_view hostname,
                               std::optional<std::string_view> before,
                               std::optional<std::string_view> after) {
  const auto pattern = policy::pattern_of(hostname);
  const auto route = [&](std::optional<std::string_view> to) -> std::optional<policy::Route> {
    if (!to.has_value()) return std::nullopt;
    return policy::Route{.pattern = pattern, .target = *BackendAddress::parse(*to)};
  };
  return {.key = {listener, pattern}, .before = route(before), .after = route(after)};
}

}  // namespace

TEST_CASE("the text of a change has rules, then routes with their targets before and after") {
  Difference difference;
  difference.added_rules = {rule(RuleType::kIp, "192.0.2.9"), rule(RuleType::kCountry, "NL")};
  difference.removed_rules = {rule(RuleType::kCidr, "192.0.2.0/24")};
  difference.routes = {change(0, "new.example", std::nullopt, "192.0.2.1:443"),
                       change(0, "*.example", "192.0.2.1:443", "192.0.2.2:443"),
                       change(1, "old.example", "192.0.2.1:443", std::nullopt)};
  CHECK(audit_text(difference, kListeners) ==
        "+ip 192.0.2.9; +country NL; -cidr 192.0.2.0/24; "
        ":443 new.example none -> 192.0.2.1:443; "
        ":443 *.example 192.0.2.1:443 -> 192.0.2.2:443; "
        ":8443 old.example 192.0.2.1:443 -> none");
}

TEST_CASE("the text of a change has what a route asks for, of many sources the first ones") {
  Difference difference;
  difference.routes = {change(0, "new.example", std::nullopt, "192.0.2.1:443"),
                       change(0, "new.example", std::nullopt, "192.0.2.1:443")};
  difference.routes[0].key.match = policy::match_of("alpn=acme-tls/1 source=10.0.0.0/8");
  difference.routes[1].key.match =
      policy::match_of("source=10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5");
  CHECK(audit_text(difference, kListeners) ==
        ":443 new.example alpn=acme-tls/1 source=10.0.0.0/8 none -> 192.0.2.1:443; "
        ":443 new.example source=10.0.0.1/32,10.0.0.2/32,10.0.0.3/32,10.0.0.4/32 and 1 more "
        "none -> 192.0.2.1:443");
}

TEST_CASE("the text of a change counts the routes of each listener that is not configured") {
  Difference difference;
  difference.put_aside = {{.listener = ":9443", .text = {.hostname = "a", .backend = "b:1"}},
                          {.listener = ":9443", .text = {.hostname = "b", .backend = "b:1"}}};
  difference.removed_aside = {{":7443", "a"}, {":9443", "c"}};
  difference.routes = {change(0, "a", std::nullopt, "192.0.2.1:443")};
  CHECK(audit_text(difference, kListeners) ==
        ":7443: +0 -1 routes, not configured; :9443: +2 -1 routes, not configured; "
        ":443 a none -> 192.0.2.1:443");
}

TEST_CASE("the text of a pool's change names its backends, or says what else changed") {
  const auto text = [](const std::optional<policy::Pool>& before,
                       const std::optional<policy::Pool>& after) {
    Difference difference;
    difference.pools = {{"app", before, after}};
    return audit_text(difference, kListeners);
  };
  const policy::Pool two = policy::pool_of_size(2);
  CHECK(text(std::nullopt, policy::pool_of_size(4)) == "pool app: added 4 backends");
  CHECK(text(std::nullopt, policy::pool_of_size(1)) == "pool app: added 1 backend");
  CHECK(text(two, std::nullopt) == "pool app: removed");
  CHECK(text(two, policy::pool_of_size(3)) == "pool app: +10.0.0.3:443");
  CHECK(text(two, policy::pool_of_size(1)) == "pool app: -10.0.0.2:443");

  policy::Pool other = two;
  other.backends[1].state = policy::AdminState::kDrain;
  CHECK(text(two, other) == "pool app: 10.0.0.2:443 drain");
  CHECK(text(other, two) == "pool app: 10.0.0.2:443 ready");
  other.backends[1].weight = 7;
  CHECK(text(two, other) == "pool app: 10.0.0.2:443 changed");
  other.settings.retries = 0;
  CHECK(text(two, other) == "pool app: changed, 10.0.0.2:443 changed");
  other.backends = two.backends;
  CHECK(text(two, other) == "pool app: changed");
  other.settings = two.settings;
  std::swap(other.backends[0], other.backends[1]);
  CHECK(text(two, other) == "pool app: changed");
  CHECK(text(policy::pool_of_size(8), two) ==
        "pool app: -10.0.0.3:443, -10.0.0.4:443, -10.0.0.5:443, -10.0.0.6:443, and 2 more");
}

TEST_CASE("the text of a change has pools behind rules, before the routes that lead to them") {
  Difference difference;
  difference.added_rules = {rule(RuleType::kIp, "192.0.2.9")};
  difference.pools = {{"app", std::nullopt, policy::pool_of_size(2)}};
  const auto pattern = policy::pattern_of("a.example");
  difference.routes = {{{0, pattern},
                        std::nullopt,
                        policy::Route{.pattern = pattern, .target = policy::PoolName{"app"}}}};
  CHECK(audit_text(difference, kListeners) ==
        "+ip 192.0.2.9; pool app: added 2 backends; :443 a.example none -> pool=app");
}

TEST_CASE("the text of a long change ends in the number of changes that it does not list") {
  Difference difference;
  for (int i = 0; i < 200; ++i) {
    difference.added_rules.push_back(rule(RuleType::kIp, "192.0.2." + std::to_string(i)));
  }
  // Would fit again, but nothing is listed behind what was left out.
  difference.routes = {change(0, "a", std::nullopt, "192.0.2.1:443")};
  const std::string text = audit_text(difference, kListeners);
  std::size_t listed = 0;
  for (auto at = text.find("+ip"); at != text.npos; at = text.find("+ip", at + 1)) ++listed;
  CHECK(listed > 0);
  const std::string end = "; and " + std::to_string(201 - listed) + " more";
  CHECK(text.ends_with(end));
  CHECK(text.size() - end.size() <= kDetailBytesMax + 2);
  CHECK_FALSE(text.contains("->"));
}

TEST_CASE("the text of nothing is empty") { CHECK(audit_text({}, kListeners).empty()); }

TEST_CASE("the text of a seed counts routes and rules, and pools if there are any") {
  store::ChangeSet seed;
  seed.put_routes.resize(2);
  seed.put_rules.resize(1);
  CHECK(audit_text_of_seed(seed) == "routes +2, rules +1");
  seed.put_pools.resize(3);
  CHECK(audit_text_of_seed(seed) == "routes +2, rules +1, pools +3");
}

}  // namespace mc::control
