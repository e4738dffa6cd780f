// SPDX-License-Identifier: Apache-2.0
// Pools through the whole control plane: from the request to the database, the policy and the next
// start.

#include <chrono>
#include <string>
#include <vector>

#include "control/control.hpp"
#include "store/sqlite.hpp"
#include "support/catch.hpp"
#include "unit/control/control_fixture.hpp"

namespace mc::control {
namespace {

using test::by_test;
using test::Plant;
using test::told;
using Changes = std::vector<Change>;

constexpr const char* kSeed = R"(
[[listeners]]
addr = ":443"
[[listeners.routes]]
hostname = "seed.example.com"
pool = "seed"
[[listeners]]
addr = ":8443"
[[pools]]
name = "seed"
[[pools.backends]]
address = "192.0.2.1:1"
[[pools.backends]]
address = "192.0.2.1:2"
)";

policy::PoolText pool(std::string name, std::vector<std::string> addresses = {"192.0.2.1:443"}) {
  policy::PoolText text{.name = std::move(name), .settings = {}, .backends = {}};
  for (std::string& address : addresses) text.backends.push_back({.address = std::move(address)});
  return text;
}

PutRoute route(std::string hostname, std::string pool, std::string listener = ":443") {
  return {std::move(listener),
          {.hostname = std::move(hostname), .backend = "", .pool = std::move(pool)}};
}

Applied done(const Outcome<Applied>& outcome) {
  INFO((outcome.has_value() ? "" : told(outcome.error())));
  REQUIRE(outcome.has_value());
  return *outcome;
}

Applied make(Plant& plant, const Changes& changes) {
  return done(plant.control().apply(changes, by_test()));
}

std::string refused(Plant& plant, const Changes& changes) {
  const auto outcome = plant.control().apply(changes, by_test());
  REQUIRE_FALSE(outcome.has_value());
  return told(outcome.error());
}

/// The backends in force; "none" if there is no such pool.
std::string backends_of(Plant& plant, const std::string& name) {
  const auto pools = plant.control().state()->pools;
  const auto found = pools->find(name);
  if (found == pools->end()) return "none";
  std::string text;
  for (const policy::LiveBackend& backend : found->second->backends()) {
    text += (text.empty() ? "" : " ") + backend.spec.address.to_string();
    if (backend.spec.state != policy::AdminState::kReady) text += "!";
  }
  return text;
}

void execute(const std::string& database, const std::string& sql) {
  auto connection = store::Connection::open(database, store::Access::kReadWrite);
  REQUIRE(connection.has_value());
  const auto executed = connection->execute(sql);
  INFO((executed.has_value() ? "" : executed.error().text));
  REQUIRE(executed.has_value());
}

}  // namespace

TEST_CASE("a new database gets the configuration's pools, and then decides") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  CHECK(backends_of(plant, "seed") == "192.0.2.1:1 192.0.2.1:2");
  CHECK(plant.route("seed.example.com") == "pool=seed");
  CHECK(plant.query("SELECT detail FROM audit") == "routes +1, rules +0, pools +1");
  make(plant, {RemoveBackend{"seed", "192.0.2.1:1"}});
  plant.restart();
  CHECK(backends_of(plant, "seed") == "192.0.2.1:2");
}

TEST_CASE("a change of pools is in the database, in the policy and in the audit table") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  const Applied applied = make(
      plant, {AddPool{pool("app", {"10.0.0.1:443", "10.0.0.2:443"})},
              SetBackendState{"seed", "192.0.2.1:2", policy::AdminState::kDrain},
              AddBackend{"seed", {.address = "192.0.2.1:3"}}, route("app.example.com", "app")});
  CHECK(applied.pools_added == 1);
  CHECK(applied.pools_changed == 1);
  CHECK(applied.pools_removed == 0);
  CHECK(applied.routes_added == 1);
  REQUIRE(applied.effects.size() == 4);
  CHECK(applied.effects[0].result == Effect::Result::kAdded);
  CHECK(applied.effects[1].result == Effect::Result::kChanged);
  CHECK(applied.effects[2].result == Effect::Result::kAdded);
  CHECK(plant.query("SELECT detail FROM audit ORDER BY id DESC") ==
        "pool app: added 2 backends; pool seed: 192.0.2.1:2 drain, +192.0.2.1:3; "
        ":443 app.example.com none -> pool=app");
  for (int i = 0; i < 2; ++i) {
    CHECK(backends_of(plant, "app") == "10.0.0.1:443 10.0.0.2:443");
    CHECK(backends_of(plant, "seed") == "192.0.2.1:1 192.0.2.1:2! 192.0.2.1:3");
    CHECK(plant.route("app.example.com") == "pool=app");
    plant.restart();
  }
  CHECK(make(plant, {RemoveRoute{":443", "app.example.com"}, RemovePool{"app"}}).pools_removed ==
        1);
  CHECK(backends_of(plant, "app") == "none");
}

TEST_CASE("a change of one pool leaves the others, and the state of backends that stay") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("other")}});
  const auto before = plant.control().state()->pools;
  make(plant, {PutBackend{"seed", {.address = "192.0.2.1:2", .weight = 1}},
               AddBackend{"seed", {.address = "192.0.2.1:3"}}});
  const auto after = plant.control().state()->pools;
  CHECK(before->at("other") == after->at("other"));
  CHECK(before->at("seed") != after->at("seed"));
  CHECK(before->at("seed")->backends()[1].state == after->at("seed")->backends()[1].state);
  CHECK(before->at("seed")->spec().backends.size() == 2);
}

TEST_CASE("a request that changes nothing of a pool makes no revision") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  const Applied applied =
      make(plant, {PutPool{pool("seed", {"192.0.2.1:1", "192.0.2.1:2"})},
                   SetBackendState{"seed", "192.0.2.1:1", policy::AdminState::kReady}});
  CHECK(applied.revision == 1);
  CHECK(applied.pools_changed == 0);
  CHECK(applied.effects[0].result == Effect::Result::kUnchanged);
  CHECK(applied.effects[1].result == Effect::Result::kUnchanged);
}

TEST_CASE("every wrong field of a pool is named, with its backend") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  policy::PoolText wrong = pool("my pool", {"10.0.0.1:443", "nowhere"});
  wrong.settings.retries = 9;
  const std::string text = refused(plant, {AddPool{pool("good")}, PutPool{wrong}});
  CHECK(text.starts_with("invalid; [1] pool name: \"my pool\": "));
  CHECK(text.contains("; [1] pool retries: 9 is out of range"));
  CHECK(text.contains("; [1] pool backends[1].address: \"nowhere\": "));
  CHECK(refused(plant, {AddBackend{"my pool", {.address = "10.0.0.1:443", .weight = 1001}}})
            .contains("[0] backend weight: 1001 is out of range"));
  CHECK(refused(plant, {AddBackend{"my pool", {.address = "10.0.0.1:443"}}})
            .starts_with("invalid; [0] pool: \"my pool\": not a pool's name"));
  CHECK(refused(plant, {RemovePool{""}}).starts_with("invalid; [0] name: \"\": not a pool's name"));
  CHECK(refused(plant, {RemoveBackend{"seed", "10.0.0.1"}})
            .starts_with("invalid; [0] address: \"10.0.0.1\": "));
}

TEST_CASE("a backend of a pool that leads back to a listener is refused") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  CHECK(refused(plant, {AddPool{pool("app", {"10.0.0.1:1", "127.0.0.1:8443"})}}) ==
        "invalid; [0] pool backends[1].address: \"127.0.0.1:8443\": leads back to the listener "
        "\":8443\"; write where the service itself listens");
  CHECK(refused(plant, {PutBackend{"seed", {.address = "127.0.0.1:8443"}}})
            .starts_with("invalid; [0] backend address: \"127.0.0.1:8443\": leads back to"));
}

TEST_CASE("a route and its pool come in one request, in any order") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {route("app.example.com", "app"), AddPool{pool("app")}});
  make(plant, {RemovePool{"app"}, RemoveRoute{":443", "app.example.com"}});
  CHECK(plant.route("app.example.com") == "none");
  CHECK(backends_of(plant, "app") == "none");
  // One that comes again was never gone.
  make(plant, {RemovePool{"seed"}, AddPool{pool("seed")}});
  CHECK(backends_of(plant, "seed") == "192.0.2.1:443");
}

TEST_CASE("a route to a pool that does not exist is refused, however it comes") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  const std::string expected =
      "the route \"app.example.com\" at listener \":443\" leads to pool \"app\", and there is no "
      "such pool; add it first, or in the same request: mc-proxy pools add";
  CHECK(refused(plant, {AddPool{pool("other")}, route("app.example.com", "app")}) ==
        "failed precondition [1]: " + expected);
  const std::vector<policy::RouteText> routes = {
      {.hostname = "app.example.com", .backend = "", .pool = "app"}};
  const auto replaced = plant.control().replace_routes(":443", routes, by_test());
  REQUIRE_FALSE(replaced.has_value());
  CHECK(told(replaced.error()) == "failed precondition: " + expected);
  ChangeOptions dry_run = by_test();
  dry_run.dry_run = true;
  CHECK_FALSE(plant.control().apply(Changes{route("app.example.com", "app")}, dry_run).has_value());
  CHECK(plant.control().state()->revision == 1);
}

TEST_CASE("a pool that routes lead to stays, and some of them are named") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  CHECK(refused(plant, {AddPool{pool("app")}, RemovePool{"seed"}}) ==
        "failed precondition [1]: pool \"seed\" cannot be removed: 1 route leads to it: "
        "\"seed.example.com\" at listener \":443\"; remove or change it first");
  Changes more;
  for (const char* const name : {"a", "b", "c", "d"}) {
    more.emplace_back(route(std::string(name) + ".example.com", "seed", ":8443"));
  }
  make(plant, more);
  const std::string text = refused(plant, {RemovePool{"seed"}});
  CHECK(text.contains("5 routes lead to it: \"seed.example.com\" at listener \":443\", "));
  CHECK(text.ends_with(" and 2 more; remove or change them first"));
  // A route of the same request counts as it will be.
  CHECK(refused(plant, {RemovePool{"seed"}, route("e.example.com", "seed")}).contains("6 routes"));
}

TEST_CASE("a replacement of routes frees their pools") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  done(plant.control().replace_routes(":443", {}, by_test()));
  make(plant, {RemovePool{"seed"}});
  CHECK(backends_of(plant, "seed") == "none");
}

TEST_CASE("routes move with their pools, and what they lead to is compared and shown") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  Control& control = plant.control();
  const Move move{.from = ":443", .to = ":8443", .keep = true};
  REQUIRE(control.move_routes(move, by_test()).has_value());
  CHECK(plant.route("seed.example.com", 1) == "pool=seed");
  REQUIRE(control.move_routes(move, by_test()).has_value());
  make(plant, {PutRoute{":8443", {.hostname = "seed.example.com", .backend = "192.0.2.9:9"}}});
  const auto moved = control.move_routes(move, by_test());
  REQUIRE_FALSE(moved.has_value());
  CHECK(told(moved.error()).contains("to 192.0.2.9:9 and not to pool=seed; set replace"));
}

TEST_CASE("a pool stays for routes of a listener that is not configured now") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  plant.close();
  plant.configure("[[listeners]]\naddr = \":8443\"\n");
  REQUIRE(plant.open() == "");
  CHECK(refused(plant, {RemovePool{"seed"}})
            .contains("\"seed.example.com\" at listener \":443\" (not configured; give "
                      "its routes to one that is: mc-proxy routes move)"));
  REQUIRE(plant.control().move_routes({.from = ":443", .to = ":9443"}, by_test()).has_value());
  CHECK(refused(plant, {RemovePool{"seed"}})
            .contains("1 route leads to it: \"seed.example.com\" at listener \":9443\" (not"));
  REQUIRE(plant.control().move_routes({.from = ":9443", .to = ":8443"}, by_test()).has_value());
  CHECK(plant.route("seed.example.com") == "pool=seed");
  make(plant, {RemoveRoute{":8443", "seed.example.com"}, RemovePool{"seed"}});
  plant.close();
  plant.configure(kSeed);
  CHECK(plant.open() == "");
}

TEST_CASE("a pool that nobody could have committed stops the start, and is named") {
  struct Case {
    const char* sql;
    const char* record;
    const char* why;
  };
  const Case cases[] = {
      {"DELETE FROM backends", "the pool \"seed\"", "backends: a pool needs at least one backend"},
      {"UPDATE pools SET retries = 9", "the pool \"seed\"", "retries: 9 is out of range"},
      {"UPDATE pools SET balance = 'fair'", "the pool \"seed\"", "balance is \"fair\""},
      {"UPDATE backends SET weight = 1001 WHERE place = 1", "the pool \"seed\"",
       "weight of backend \"192.0.2.1:2\": 1001 is out of range"},
      {"PRAGMA foreign_keys = OFF; DELETE FROM pools",
       "the route \"seed.example.com\" -> "
       "\"pool=seed\" of listener \":443\"",
       "there is no such pool"},
  };
  for (const Case& one : cases) {
    Plant plant(kSeed);
    REQUIRE(plant.open() == "");
    plant.close();
    execute(plant.database(), one.sql);
    const std::string why = plant.open();
    INFO(one.sql << " -> " << why);
    CHECK(why.contains(one.record));
    CHECK(why.contains(one.why));
    CHECK(why.contains("somebody edited the database"));
  }
}

TEST_CASE("a backend that has become a listener stops no start") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"127.0.0.1:9443"})}});
  plant.close();
  plant.configure("[[listeners]]\naddr = \":443\"\n[[listeners]]\naddr = \":9443\"\n");
  REQUIRE(plant.open() == "");
  CHECK(backends_of(plant, "app") == "127.0.0.1:9443");
}

// ---- names

namespace {

std::vector<IpAddress> ips(const std::vector<std::string>& texts) {
  std::vector<IpAddress> addresses;
  for (const std::string& text : texts) addresses.push_back(IpAddress::parse(text).value());
  return addresses;
}

std::string warnings(Plant& plant) {
  const auto texts = plant.control().warnings().texts();
  std::string all;
  for (const std::string& text : texts) all += text + "\n";
  return all;
}

}  // namespace

TEST_CASE("an answer of DNS is in the policy at once, of the same revision") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443", "192.0.2.7:443"})}});
  CHECK(backends_of(plant, "app") == "192.0.2.7:443");
  const auto revision = plant.control().state()->revision;
  const auto seed = plant.control().state()->pools->at("seed");
  CHECK(plant.control().take_answers({{"app.internal", ips({"10.0.0.1", "10.0.0.2"})}}));
  CHECK(backends_of(plant, "app") == "10.0.0.1:443 10.0.0.2:443 192.0.2.7:443");
  CHECK(plant.published().pool("app")->backends().size() == 3);
  CHECK(plant.control().state()->revision == revision);
  CHECK(plant.control().state()->pools->at("seed") == seed);
  CHECK(plant.query("SELECT count(*) FROM audit") == "2");
}

TEST_CASE("an answer that is not new, or for a name that nobody has, publishes nothing") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443"})}});
  const policy::ResolvedNames answer{{"app.internal", ips({"10.0.0.1"})}};
  CHECK(plant.control().take_answers(answer));
  const auto before = plant.control().state()->pools;
  CHECK(plant.control().take_answers(answer));
  CHECK(plant.control().take_answers({{"other.internal", ips({"10.0.0.1"})}}));
  CHECK(plant.control().state()->pools == before);
  CHECK_FALSE(plant.control().state()->resolved->contains("other.internal"));
}

TEST_CASE("a change of a pool keeps the addresses of its names") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443"})}});
  CHECK(plant.control().take_answers({{"app.internal", ips({"10.0.0.1"})}}));
  make(plant, {AddBackend{"app", {.address = "app.internal:444"}},
               SetBackendState{"app", "app.internal:443", policy::AdminState::kDrain}});
  CHECK(backends_of(plant, "app") == "10.0.0.1:443! 10.0.0.1:444");
}

TEST_CASE("the last answers are in force at the next start, without those of names that left") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443", "b.internal:443"})}});
  CHECK(plant.control().take_answers(
      {{"app.internal", ips({"10.0.0.1", "2001:db8::1"})}, {"b.internal", ips({"10.0.0.9"})}}));
  plant.control().tick();
  CHECK(plant.query("SELECT addresses FROM resolved_names WHERE name = 'app.internal'") ==
        "10.0.0.1 2001:db8::1");
  plant.restart();
  CHECK(backends_of(plant, "app") == "10.0.0.1:443 [2001:db8::1]:443 10.0.0.9:443");
  make(plant, {RemoveBackend{"app", "b.internal:443"}});
  CHECK(plant.control().take_answers({{"app.internal", ips({"10.0.0.2"})}}));
  plant.control().release_database();
  CHECK(plant.query("SELECT group_concat(name || ' ' || addresses) FROM resolved_names") ==
        "app.internal 10.0.0.2");
}

TEST_CASE("a stored answer that is not usable is as good as none") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443"})}});
  plant.close();
  execute(plant.database(), "INSERT INTO resolved_names VALUES ('app.internal', 'x 10.0.0.1 ', 1)");
  REQUIRE(plant.open() == "");
  CHECK(backends_of(plant, "app") == "10.0.0.1:443");
}

TEST_CASE("a name that fails keeps its addresses, and is a warning until it resolves or leaves") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443", "b.internal:443", "192.0.2.7:443"})}});
  const policy::ResolvedNames answer{{"app.internal", ips({"10.0.0.1"})}};
  CHECK(plant.control().take_answers(answer));
  plant.control().take_failure("app.internal", "SERVFAIL");
  plant.control().take_failure("b.internal", "no such name");
  plant.control().take_failure("unknown.internal", "SERVFAIL");
  CHECK(backends_of(plant, "app") == "10.0.0.1:443 192.0.2.7:443");
  CHECK(warnings(plant).contains("app.internal: SERVFAIL since 2"));
  CHECK(warnings(plant).contains("b.internal: no such name since 2"));
  CHECK_FALSE(warnings(plant).contains("unknown.internal"));
  plant.control().take_success("app.internal");
  CHECK_FALSE(warnings(plant).contains("app.internal"));
  plant.control().take_failure("app.internal", "SERVFAIL");
  CHECK(plant.control().take_answers(answer));  // an older one, on its way until now
  CHECK(warnings(plant).contains("app.internal"));
  plant.control().take_success("app.internal");
  make(plant, {RemoveBackend{"app", "b.internal:443"}});
  CHECK(warnings(plant).empty());
}

TEST_CASE("one address of a name cannot be changed, and the refusal says what can") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443", "192.0.2.7:443"})}});
  CHECK(plant.control().take_answers({{"app.internal", ips({"10.0.0.1"})}}));
  constexpr std::string_view kWanted =
      "10.0.0.1:443 of pool \"app\" is an address of the backend app.internal:443; write that name";
  CHECK(refused(plant, {SetBackendState{"app", "10.0.0.1:443", policy::AdminState::kDrain}})
            .contains(kWanted));
  CHECK(refused(plant, {RemoveBackend{"app", "10.0.0.1:443"}}).contains(kWanted));
  make(plant, {RemoveBackend{"app", "App.Internal:443"}});
  CHECK(backends_of(plant, "app") == "192.0.2.7:443");
}

TEST_CASE("a name or a Unix socket leads back to no listener") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  make(plant, {AddPool{pool("app", {"app.internal:443", "unix:/run/app.sock"})}});
  CHECK(backends_of(plant, "app") == "unix:/run/app.sock");
}

}  // namespace mc::control
