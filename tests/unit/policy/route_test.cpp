// SPDX-License-Identifier: Apache-2.0
#include "policy/route.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using namespace mc::policy;

TEST_CASE("A route that is written as text and read again is the same") {
  const RouteText text{.hostname = "*.example.com", .backend = "[fe80::1%eth0]:443"};
  const auto route = parse_route(text);
  REQUIRE(route.has_value());
  CHECK(to_text(*route) == text);
  CHECK(target_of(*route) == "[fe80::1%eth0]:443");
}

TEST_CASE("Every field of a route is read, and each that is wrong is reported by its name") {
  for (const RouteField& field : kRouteFields) {
    CAPTURE(field.name);
    RouteText text{.hostname = "app.example.com", .backend = {}, .pool = {}};
    if (field.name != "pool") text.backend = "127.0.0.1:443";
    field.text(text) = "not one of these";
    const auto route = parse_route(text);
    REQUIRE_FALSE(route.has_value());
    REQUIRE(route.error().size() == 1);
    CHECK(route.error()[0].field == field.name);
  }
  CHECK(parse_route({}).error().size() == 2);
}

TEST_CASE("The example of each field is right, with a backend or with a pool") {
  for (const auto left_out : {&RouteText::backend, &RouteText::pool}) {
    RouteText text;
    for (const RouteField& field : kRouteFields) field.text(text) = field.example;
    text.*left_out = {};
    const auto route = parse_route(text);
    REQUIRE(route.has_value());
    CHECK(to_text(*route) == text);
  }
}

TEST_CASE("A route has a backend or a pool, and not both") {
  const auto both =
      parse_route({.hostname = "a.example.com", .backend = "127.0.0.1:443", .pool = "app"});
  REQUIRE_FALSE(both.has_value());
  CHECK(both.error()[0].field == "pool");
  CHECK(both.error()[0].message.contains("leave one of both out"));
}

TEST_CASE("A pool in the place of a backend is told by its name, and a pool without one") {
  const auto error = [](const RouteText& text) { return parse_route(text).error()[0]; };
  const RouteError misplaced = error({.hostname = "a.example.com", .backend = "pool=app"});
  CHECK(misplaced.field == "backend");
  CHECK(misplaced.message ==
        R"("pool=app": a pool is no backend; write "app" as the pool of the route)");
  RouteText nameless{.hostname = "a.example.com"};
  read_target("pool=", nameless);
  CHECK(error(nameless).message ==
        R"("pool=": the pool's name is missing; write one like "pool=app")");
}

TEST_CASE("A route's target is one word") {
  for (const char* const target : {"127.0.0.1:443", "pool=app"}) {
    RouteText text{.hostname = "a.example.com", .backend = "x", .pool = "y"};
    read_target(target, text);
    CHECK(target_of(text) == target);
    CHECK(target_of(parse_route(text).value()) == target);
  }
}

TEST_CASE("All that is wrong with a route is reported at once") {
  const auto route = parse_route(
      {.hostname = "a..b", .backend = "x", .match = {.alpn = "a b", .sources = {"DE"}}});
  REQUIRE_FALSE(route.has_value());
  std::vector<std::string_view> fields;
  for (const RouteError& error : route.error()) fields.push_back(error.field);
  CHECK(fields == std::vector<std::string_view>{"hostname", "alpn", "sources", "backend"});
}

TEST_CASE("A recorded route may have a backend that is refused today, but one to connect to") {
  const RouteText link_local{.hostname = "a.example.com", .backend = "[fe80::1]:443"};
  CHECK_FALSE(parse_route(link_local).has_value());
  CHECK(parse_recorded_route(link_local).has_value());
  CHECK_FALSE(parse_recorded_route({.hostname = "a.example.com", .backend = "0.0.0.0:443"}));
  CHECK_FALSE(parse_recorded_route({.hostname = "a..b", .backend = "127.0.0.1:443"}));
  const RouteText matching{
      .hostname = "a.example.com", .backend = "127.0.0.1:443", .match = {.alpn = "h2"}};
  CHECK(parse_recorded_route(matching)->match.alpn == "h2");
  CHECK_FALSE(parse_recorded_route({.hostname = "a.example.com",
                                    .backend = "127.0.0.1:443",
                                    .match = {.sources = {"10.0.0.1/8"}}}));
}

TEST_CASE("A route's host name comes out in normal form") {
  CHECK(parse_hostname("App.Example.COM.")->text() == "app.example.com");
  CHECK(parse_hostname("*.Example.COM.")->text() == "*.example.com");
  CHECK(parse_hostname("*")->text() == "*");
}

TEST_CASE("What no client can ask for is no host name of a route") {
  const std::string_view text = GENERATE("", "a..b", ".", "a b", "a.1");
  const auto result = parse_hostname(text);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message.starts_with('"' + std::string(text) + "\": not a host name: "));
}

TEST_CASE("What is mistaken for a host name is called by its name, with the host name in it") {
  const auto problem = [](std::string_view text) {
    const auto result = parse_hostname(text);
    return result.has_value() ? std::string("none") : result.error().message;
  };
  CHECK(problem("https://app.example.com/x?y#z") ==
        R"("https://app.example.com/x?y#z": a URL, not a host name; write "app.example.com")");
  CHECK(problem("App.example.com:443") ==
        R"("App.example.com:443": a host name with a port; write "app.example.com")");
  CHECK(problem("app.example.com/") ==
        R"("app.example.com/": a host name with a path; write "app.example.com")");
  CHECK(problem("192.0.2.1").contains(": an IP address, not a host name: "));
  CHECK(problem("[::1]").contains(": an IP address, not a host name: "));
  CHECK(problem("[::1]:443").contains(": an IP address with a port, not a host name: "));
  for (const std::string_view text :
       {"://", "https://", "/", ":", ":443", "https://-a/", "[::1", "*:443:1", "a:b:c"}) {
    CAPTURE(text);
    CHECK(problem(text) != "none");
  }
}

TEST_CASE("A wildcard stands for whole labels in front") {
  const std::string_view text =
      GENERATE("*.*.example.com", "a.*.example.com", "*example.com", "**", "*.*");
  CHECK(parse_hostname(text).error().message.contains("a wildcard stands alone"));
  CHECK(parse_hostname("*.").error().message.contains("not a host name"));
}

TEST_CASE("A backend is an address that can be connected to") {
  CHECK(parse_backend("127.0.0.1:443").has_value());
  CHECK(parse_backend("0.0.0.0:443")
            .error()
            .message.ends_with("write \"127.0.0.1:443\" for this machine"));
  CHECK_FALSE(parse_backend("[::]:443").has_value());
  CHECK_FALSE(parse_backend("127.0.0.1").has_value());
}
