// SPDX-License-Identifier: Apache-2.0
// What listeners' settings mean for routes and pools: redirects have no routes, and pools that a
// listener names stay.

#include <string>
#include <vector>

#include "control/control.hpp"
#include "support/catch.hpp"
#include "unit/control/control_fixture.hpp"

namespace mc::control {
namespace {

using test::by_test;
using test::Plant;
using test::told;
using Changes = std::vector<Change>;

constexpr const char* kPools = R"(
[[pools]]
name = "web"
backends = [{ address = "192.0.2.1:1" }]
[[pools]]
name = "ssh"
backends = [{ address = "192.0.2.1:2" }]
[[pools]]
name = "acme"
backends = [{ address = "192.0.2.1:3" }]
[[pools]]
name = "free"
backends = [{ address = "192.0.2.1:4" }]
)";
const std::string kSettings = std::string(R"(
[[listeners]]
addr = ":443"
no_sni = "web"
not_tls = "ssh"
[[listeners]]
addr = ":8443"
silent = { after = "1s", pool = "ssh" }
[[redirects]]
addr = ":80"
challenge_pool = "acme"
)") + kPools;

std::string refused(Plant& plant, const Changes& changes) {
  const auto outcome = plant.control().apply(changes, by_test());
  REQUIRE_FALSE(outcome.has_value());
  return told(outcome.error());
}

void make(Plant& plant, const Changes& changes) {
  const auto outcome = plant.control().apply(changes, by_test());
  INFO((outcome.has_value() ? "" : told(outcome.error())));
  REQUIRE(outcome.has_value());
}

policy::RouteText route(std::string hostname) {
  return {.hostname = std::move(hostname), .backend = "192.0.2.1:443", .pool = ""};
}

}  // namespace

TEST_CASE("a pool that a listener names is not removed, and its clients are told") {
  Plant plant(kSettings);
  REQUIRE(plant.open() == "");
  CHECK(refused(plant, {RemovePool{"web"}})
            .contains("pool \"web\" cannot be removed: the listener \":443\" sends clients without "
                      "a server name to it; change the configuration"));
  CHECK(refused(plant, {RemovePool{"ssh"}})
            .contains("the listener \":443\" sends clients without TLS to it"));
  CHECK(refused(plant, {RemovePool{"acme"}})
            .contains("the listener \":80\" sends ACME challenges to it"));
  make(plant, {RemovePool{"free"}});
  plant.close();
  plant.configure(std::string("[[listeners]]\naddr = \":443\"\n[[listeners]]\naddr = \":8443\"\n") +
                  "silent = { after = \"1s\", pool = \"ssh\" }\n" + kPools);
  REQUIRE(plant.open() == "");
  make(plant, {RemovePool{"web"}});
  CHECK(refused(plant, {RemovePool{"ssh"}})
            .contains("the listener \":8443\" sends silent clients to it"));
}

TEST_CASE("a pool that a listener names may be removed and added in one request") {
  Plant plant(kSettings);
  REQUIRE(plant.open() == "");
  const policy::PoolText again{
      .name = "web", .settings = {}, .backends = {{.address = "192.0.2.9:1"}}};
  make(plant, {RemovePool{"web"}, AddPool{again}});
}

TEST_CASE("a listener may name a pool that the database does not have") {
  Plant plant("[[listeners]]\naddr = \":443\"\n");
  REQUIRE(plant.open() == "");
  plant.close();
  plant.configure(kSettings);
  CHECK(plant.open() == "");
  CHECK(plant.control().state()->pools->empty());
}

TEST_CASE("a listener that only redirects gets no routes") {
  Plant plant(kSettings);
  REQUIRE(plant.open() == "");
  const std::string why =
      "the listener \":80\" only redirects, it has no routes; name one of [[listeners]]";
  CHECK(refused(plant, {AddRoute{":80", route("a.example.com")}}).contains(why));
  CHECK(refused(plant, {PutRoute{"[::]:80", route("a.example.com")}}).contains(why));
  CHECK(refused(plant, {RemoveRoute{":80", "a.example.com"}}).contains(why));
  make(plant, {AddRoute{":443", route("a.example.com")}});
  const auto moved = plant.control().move_routes({.from = ":443", .to = ":80"}, by_test());
  REQUIRE_FALSE(moved.has_value());
  CHECK(told(moved.error()).contains(why));
  CHECK(plant.route("a.example.com") == "192.0.2.1:443");
}

TEST_CASE("routes of a listener that became a redirect are kept, and can be moved") {
  Plant plant("[[listeners]]\naddr = \":443\"\n[[listeners]]\naddr = \":80\"\n");
  REQUIRE(plant.open() == "");
  make(plant, {AddRoute{":80", route("a.example.com")}});
  plant.close();
  plant.configure("[[listeners]]\naddr = \":443\"\n[[redirects]]\naddr = \":80\"\n");
  REQUIRE(plant.open() == "");
  CHECK(plant.route("a.example.com", 1) == "none");
  const auto moved = plant.control().move_routes({.from = ":80", .to = ":443"}, by_test());
  REQUIRE(moved.has_value());
  CHECK(plant.route("a.example.com") == "192.0.2.1:443");
  plant.restart();
  CHECK(plant.route("a.example.com") == "192.0.2.1:443");
}

}  // namespace mc::control
