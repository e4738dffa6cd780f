// SPDX-License-Identifier: Apache-2.0
#include "traffic/facts.hpp"

#include <memory>
#include <string>
#include <utility>

#include "policy/route_table.hpp"
#include "support/catch.hpp"
#include "unit/policy/routes.hpp"

namespace mc::traffic {
namespace {

ConnectionFacts routed(std::string name, std::string pattern) {
  const auto routes = policy::RouteTable::build(
      {policy::live_route(pattern, *BackendAddress::parse("192.0.2.1:443"))});
  ConnectionFacts facts{.number = 7, .name = std::move(name), .worker = 2, .listener = 1};
  facts.peer = *SocketAddress::parse("198.51.100.9:50000");
  const policy::LiveRoute* const route = routes.find({.name = facts.name});
  REQUIRE(route != nullptr);
  facts.take_route(*route);
  return facts;
}

}  // namespace

TEST_CASE("the facts name the route by its pattern, whichever kind has matched") {
  CHECK(routed("app.example.com", "app.example.com").route() == "app.example.com");
  CHECK(routed("a.b.example.com", "*.example.com").route() == "*.example.com");
  CHECK(routed("app.example.com", "*").route() == "*");
  CHECK(ConnectionFacts{}.route().empty());
}

TEST_CASE("a backend whose interface is not there is known by its name") {
  const auto routes = policy::RouteTable::build(
      {policy::live_route("*", *BackendAddress::parse("[fe80::1%nowhere]:443"))});
  ConnectionFacts facts{.name = "app.example.com"};
  CHECK_FALSE(facts.backend().has_value());
  facts.take_route(*routes.find({.name = facts.name}));
  REQUIRE(facts.backend().has_value());
  CHECK(facts.backend()->to_string() == "[fe80::1%nowhere]:443");
  CHECK(facts.rare->backend.has_value());
}

TEST_CASE("a connection is described as it is at that instant") {
  ConnectionFacts facts = routed("app.example.com", "*");
  facts.accepted_at = Instant(std::chrono::seconds(10));
  facts.moved_at = Instant(std::chrono::seconds(12));
  facts.stage = Stage::kRelay;
  facts.bytes_up = 5;
  const Connection shown = describe(facts, Instant(std::chrono::seconds(15)));
  CHECK(shown.id == ConnectionId{.worker = 2, .number = 7});
  CHECK(shown.age == std::chrono::seconds(5));
  CHECK(shown.idle == std::chrono::seconds(3));
  CHECK(shown.bytes_up == 5);
  CHECK(shown.client == facts.peer);
  CHECK(shown.stage == Stage::kRelay);
}

TEST_CASE("a filter means the connections that match all that it names") {
  const ConnectionFacts facts = routed("app.example.com", "*");
  CHECK(matches({}, facts));
  CHECK(matches({.id = facts.id(), .listener = 1, .sni = policy::pattern_of("*.example.com")},
                facts));
  CHECK_FALSE(matches({.id = ConnectionId{.worker = 2, .number = 8}}, facts));
  CHECK_FALSE(matches({.listener = 0}, facts));
  CHECK_FALSE(matches({.listener = 1, .sni = policy::pattern_of("example.com")}, facts));
  CHECK(matches({.source = IpPrefix::parse("198.51.100.0/24").value()}, facts));
  CHECK_FALSE(matches({.source = IpPrefix::parse("203.0.113.0/24").value()}, facts));
  CHECK(matches({.backend = *BackendAddress::parse("192.0.2.1:443")}, facts));
  CHECK_FALSE(matches({.backend = *BackendAddress::parse("192.0.2.1:444")}, facts));
  CHECK_FALSE(matches({.backend = *BackendAddress::parse("192.0.2.1:443")}, ConnectionFacts{}));
}

TEST_CASE("a client that a proxy names is the client, and the peer is the proxy") {
  ConnectionFacts facts = routed("app.example.com", "*");
  CHECK_FALSE(facts.is_conveyed());
  CHECK_FALSE(describe(facts, Instant()).via.has_value());
  facts.more().is_local = true;  // a header that names nobody
  CHECK_FALSE(facts.is_conveyed());
  CHECK(facts.client() == facts.peer);
  facts.more().client = *SocketAddress::parse("203.0.113.5:40000");
  CHECK(facts.is_conveyed());
  CHECK(facts.client().to_string() == "203.0.113.5:40000");
  const Connection shown = describe(facts, Instant());
  CHECK(shown.client == facts.client());
  CHECK(shown.via == facts.peer);
  CHECK(matches({.source = IpPrefix::parse("203.0.113.0/24").value()}, facts));
  CHECK_FALSE(matches({.source = IpPrefix::parse("198.51.100.0/24").value()}, facts));
}

TEST_CASE("the facts name the other ways of a listener, and their pools") {
  const std::pair<Way, std::string> words[] = {{Way::kNoSni, "no_sni"},
                                               {Way::kNotTls, "not_tls"},
                                               {Way::kSilent, "silent"},
                                               {Way::kChallenge, "challenge"}};
  for (const auto& [way, word] : words) {
    ConnectionFacts facts;
    facts.take_way(way, "app");
    CHECK(facts.has_way());
    CHECK(facts.route() == word);
    CHECK(facts.pool() == "app");
    CHECK_FALSE(facts.backend().has_value());
    CHECK(describe(facts, Instant()).route == word);
    CHECK(matches({.pool = "app"}, facts));
  }
  ConnectionFacts redirected;
  redirected.way = Way::kRedirect;
  CHECK(redirected.route() == "redirect");
  CHECK(redirected.pool().empty());
  CHECK_FALSE(redirected.backend().has_value());
}

TEST_CASE("the facts follow from one backend of a pool to the next, of whichever kind") {
  const auto state = [](const char* text) {
    return std::make_shared<policy::BackendState>("app", *BackendAddress::parse(text));
  };
  ConnectionFacts facts;
  facts.take_way(Way::kNotTls, "app");
  for (const char* const text : {"unix:/run/app.sock", "192.0.2.1:443", "unix:/run/b.sock",
                                 "[fe80::1%nowhere]:443", "[2001:db8::1]:443"}) {
    facts.take_backend(state(text));
    REQUIRE(facts.backend().has_value());
    CHECK(facts.backend()->to_string() == text);
    CHECK(facts.pool() == "app");
    CHECK(matches({.backend = *BackendAddress::parse(text)}, facts));
  }
}

}  // namespace mc::traffic
