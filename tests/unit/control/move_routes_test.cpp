// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "control/control.hpp"
#include "support/catch.hpp"
#include "unit/control/control_fixture.hpp"

namespace mc::control {
namespace {

using test::by_test;
using test::told;

// Of :443, so that :8443 has none.
constexpr const char* kTwoRoutes = R"(
[[listeners]]
addr = ":443"
[[listeners.routes]]
hostname = "a.example.com"
backend = "192.0.2.1:1"
[[listeners.routes]]
hostname = "*.example.com"
backend = "192.0.2.1:2"
[[listeners]]
addr = ":8443"
)";

std::string refused(const Outcome<Moved>& outcome) {
  REQUIRE_FALSE(outcome.has_value());
  return told(outcome.error());
}

}  // namespace

TEST_CASE("routes that move leave one listener and are at the other, in one revision") {
  test::Plant plant(kTwoRoutes);
  REQUIRE(plant.open() == "");
  const auto moved = plant.control().move_routes({.from = ":443", .to = ":8443"}, by_test());
  REQUIRE(moved.has_value());
  CHECK(moved->routes == 2);
  CHECK(moved->revision == 2);
  CHECK(plant.route("a.example.com", 0) == "none");
  CHECK(plant.route("a.example.com", 1) == "192.0.2.1:1");
  CHECK(plant.route("b.example.com", 1) == "192.0.2.1:2");
  plant.restart();
  CHECK(plant.route("a.example.com", 0) == "none");
  CHECK(plant.route("b.example.com", 1) == "192.0.2.1:2");
}

TEST_CASE("routes that are kept are at both listeners") {
  test::Plant plant(kTwoRoutes);
  REQUIRE(plant.open() == "");
  REQUIRE(plant.control()
              .move_routes({.from = ":443", .to = ":8443", .keep = true}, by_test())
              .has_value());
  CHECK(plant.route("a.example.com", 0) == "192.0.2.1:1");
  CHECK(plant.route("a.example.com", 1) == "192.0.2.1:1");
}

TEST_CASE("a dry run moves nothing") {
  test::Plant plant(kTwoRoutes);
  REQUIRE(plant.open() == "");
  ChangeOptions options = by_test();
  options.dry_run = true;
  const auto moved = plant.control().move_routes({.from = ":443", .to = ":8443"}, options);
  REQUIRE(moved.has_value());
  CHECK(moved->routes == 2);
  CHECK(moved->revision == 1);
  CHECK(plant.route("a.example.com", 0) == "192.0.2.1:1");
  CHECK(plant.route("a.example.com", 1) == "none");
}

TEST_CASE("a route of the same name stands in the way, unless it is the same or to be replaced") {
  test::Plant plant(kTwoRoutes);
  REQUIRE(plant.open() == "");
  Control& control = plant.control();
  REQUIRE(
      control.move_routes({.from = ":443", .to = ":8443", .keep = true}, by_test()).has_value());
  // The same ones: nothing stands in the way.
  CHECK(control.move_routes({.from = ":443", .to = ":8443", .keep = true}, by_test()).has_value());
  const std::vector<policy::RouteText> others{{"a.example.com", "192.0.2.9:9"}};
  REQUIRE(control.replace_routes(":8443", others, by_test()).has_value());
  CHECK(refused(control.move_routes({.from = ":443", .to = ":8443"}, by_test())) ==
        "already exists: listener \":8443\" has a route for \"a.example.com\" already, to "
        "192.0.2.9:9 and not to 192.0.2.1:1; set replace to put the moved route in its place");
  CHECK(plant.route("a.example.com", 1) == "192.0.2.9:9");
  CHECK(plant.route("a.example.com", 0) == "192.0.2.1:1");
  REQUIRE(
      control.move_routes({.from = ":443", .to = ":8443", .replace = true}, by_test()).has_value());
  CHECK(plant.route("a.example.com", 1) == "192.0.2.1:1");
}

TEST_CASE("routes of a listener that is not configured any more come to one that is, and back") {
  test::Plant plant(kTwoRoutes);
  REQUIRE(plant.open() == "");
  plant.close();
  plant.configure("[[listeners]]\naddr = \":8443\"\n");
  REQUIRE(plant.open() == "");
  REQUIRE(plant.control().move_routes({.from = ":443", .to = ":8443"}, by_test()).has_value());
  CHECK(plant.route("a.example.com") == "192.0.2.1:1");
  CHECK(plant.query("SELECT count(*) FROM routes WHERE listener = ':443'") == "0");

  REQUIRE(plant.control().move_routes({.from = ":8443", .to = ":9443"}, by_test()).has_value());
  CHECK(plant.route("a.example.com") == "none");
  CHECK(plant.query("SELECT count(*) FROM routes WHERE listener = ':9443'") == "2");
}

TEST_CASE("routes of one host name are moved each, also aside") {
  test::Plant plant(kTwoRoutes);
  REQUIRE(plant.open() == "");
  Control& control = plant.control();
  const policy::RouteText matching{"a.example.com", "192.0.2.7:7", "", {.alpn = "h2"}};
  REQUIRE(control.apply(std::vector<Change>{AddRoute{":443", matching}}, by_test()).has_value());
  const auto moved = control.move_routes({.from = ":443", .to = ":9443", .keep = true}, by_test());
  REQUIRE(moved.has_value());
  CHECK(moved->routes == 3);
  CHECK(control.state()->aside->size() == 3);
  REQUIRE(control.move_routes({.from = ":9443", .to = ":8443"}, by_test()).has_value());
  CHECK(control.state()->aside->empty());
  CHECK(plant.query("SELECT count(*) FROM routes WHERE listener = ':8443'") == "3");

  const policy::RouteText other{"a.example.com", "192.0.2.8:8", "", {.alpn = "h2"}};
  REQUIRE(control.apply(std::vector<Change>{PutRoute{":443", other}}, by_test()).has_value());
  CHECK(refused(control.move_routes({.from = ":443", .to = ":8443"}, by_test()))
            .contains("a route for \"a.example.com\" (alpn=h2) already, to 192.0.2.7:7 and not"));
}

TEST_CASE("a move from nothing, to itself or between what are no addresses is refused") {
  test::Plant plant(kTwoRoutes);
  REQUIRE(plant.open() == "");
  const auto refusal = [&plant](const char* from, const char* to) {
    return refused(plant.control().move_routes({.from = from, .to = to}, by_test()));
  };
  CHECK(refusal(":8443", ":443") == "not found: listener \":8443\" has no routes");
  CHECK(refusal(":443", ":443") ==
        "invalid; [1] listener_addr: \":443\" and \":443\" are the same listener");
  CHECK(refusal(":443", "[::]:443").contains("are the same listener"));
  CHECK(refusal("nowhere", ":443").starts_with("invalid; [0] listener_addr: listener \"nowhere\""));
  CHECK(refusal(":443", "nowhere").starts_with("invalid; [1] listener_addr: listener \"nowhere\""));
  CHECK(plant.route("a.example.com", 0) == "192.0.2.1:1");
}

}  // namespace mc::control
