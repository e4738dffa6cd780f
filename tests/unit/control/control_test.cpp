// SPDX-License-Identifier: Apache-2.0
#include "control/control.hpp"

#include <fmt/format.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "control/limits.hpp"
#include "store/sqlite.hpp"
#include "support/catch.hpp"
#include "unit/control/control_fixture.hpp"

using namespace mc::control;
using namespace mc::control::test;
using Changes = std::vector<Change>;

namespace {

Applied done(const Outcome<Applied>& outcome) {
  INFO((outcome.has_value() ? "" : told(outcome.error())));
  REQUIRE(outcome.has_value());
  return *outcome;
}

std::string refused(const Outcome<Applied>& outcome) {
  REQUIRE_FALSE(outcome.has_value());
  return told(outcome.error());
}

AddRoute add(const std::string& hostname, const std::string& backend = "192.0.2.1:443",
             const std::string& listener = ":443") {
  return {listener, {hostname, backend}};
}

AddRule block(RuleType type, const std::string& value) { return {{type, value}}; }

constexpr const char* kSeed =
    "[[listeners]]\naddr = \":443\"\n"
    "[[listeners.routes]]\nhostname = \"seed.example.com\"\nbackend = \"192.0.2.1:1\"\n"
    "[firewall]\nblocked_ips = [\"203.0.113.50\"]\nblocked_cidrs = [\"198.51.100.0/24\"]\n";

}  // namespace

// ---- the beginning

TEST_CASE("a new database is seeded from the configuration", "[control]") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  CHECK(plant.route("seed.example.com") == "192.0.2.1:1");
  CHECK(plant.control().state()->rules->size() == 2);
  CHECK(plant.control().state()->revision == 1);
  CHECK(plant.published().revision() == 1);
  CHECK(plant.query("SELECT who || ' ' || action FROM audit") == "configuration seed");
}

TEST_CASE("after the first start the database is the truth", "[control]") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  done(plant.control().apply(Changes{RemoveRoute{":443", "seed.example.com"}}, by_test()));
  plant.restart();
  CHECK(plant.route("seed.example.com") == "none");
  CHECK(plant.control().state()->revision == 2);
}

TEST_CASE("a seed of nothing is a seed too", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  CHECK(plant.control().state()->revision == 1);
  plant.close();
  plant.configure(kSeed);
  REQUIRE(plant.open() == "");
  CHECK(plant.route("seed.example.com") == "none");
}

TEST_CASE("routes of a listener that is not configured any more are kept for its return",
          "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  done(plant.control().apply(Changes{add("app.example.com", "192.0.2.1:1", ":8443")}, by_test()));
  plant.close();
  plant.configure("[[listeners]]\naddr = \":443\"\n");
  REQUIRE(plant.open() == "");
  CHECK(plant.control().state()->routes.size() == 1);
  plant.close();
  plant.configure("");
  REQUIRE(plant.open() == "");
  CHECK(plant.route("app.example.com", 1) == "192.0.2.1:1");
}

TEST_CASE("a record that nobody could have committed stops the start, and is named", "[control]") {
  struct Case {
    const char* sql;
    const char* record;
    const char* why;
  };
  const Case cases[] = {
      {"INSERT INTO routes (listener, hostname, backend, pool) VALUES (':443', 'not a name', "
       "'192.0.2.1:1', '')",
       "not a name", "somebody edited"},
      {"INSERT INTO routes (listener, hostname, backend, pool) VALUES (':443', 'a.example.com', "
       "'nowhere', '')",
       "nowhere", "somebody edited"},
      {"INSERT INTO routes (listener, hostname, backend, pool) VALUES (':443', 'a.example.com', "
       "'', 'app')",
       "pool=app", "there is no such pool; somebody edited"},
      {"INSERT INTO firewall_rules VALUES ('colour', 'red')", "colour",
       "none of ip, cidr, country"},
      {"INSERT INTO firewall_rules VALUES ('cidr', '192.0.2.1/24')", "192.0.2.1/24",
       "somebody edited"},
      {"INSERT INTO firewall_rules VALUES ('country', 'RU')", "RU",
       "firewall: geoip_db is required"},
  };
  for (const Case& one : cases) {
    Plant plant;
    REQUIRE(plant.open() == "");
    plant.close();
    {
      auto connection =
          mc::store::Connection::open(plant.database(), mc::store::Access::kReadWrite);
      REQUIRE(connection.has_value());
      REQUIRE(connection->execute(one.sql).has_value());
    }
    const std::string why = plant.open();
    INFO(one.sql << " -> " << why);
    CHECK(why.contains(one.record));
    CHECK(why.contains(one.why));
  }
}

TEST_CASE("a record that only the machine makes useless stops no start", "[control]") {
  const char* const backends[] = {"[fe80::1%no-such-if]:443", "127.0.0.1:8443", "[fe80::9]:443",
                                  "224.0.0.1:443"};
  Plant plant;
  REQUIRE(plant.open() == "");
  plant.close();
  for (const std::string backend : backends) {
    INFO(backend);
    {
      auto connection =
          mc::store::Connection::open(plant.database(), mc::store::Access::kReadWrite);
      REQUIRE(connection.has_value());
      REQUIRE(connection
                  ->execute("INSERT OR REPLACE INTO routes (listener, hostname, backend, pool) "
                            "VALUES (':443', 'a.example.com', '" +
                            backend + "', '')")
                  .has_value());
    }
    REQUIRE(plant.open() == "");
    CHECK(plant.route("a.example.com", 0) == backend);
    plant.close();
  }
}

// ---- changes

TEST_CASE("an acknowledged change is in the database and in the policy", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  const Applied applied =
      done(plant.control().apply(Changes{add("App.Example.com.", "192.0.2.9:443")}, by_test()));
  CHECK(applied.revision == 2);
  CHECK(applied.routes_added == 1);
  CHECK(plant.route("app.example.com") == "192.0.2.9:443");
  CHECK(plant.published().revision() == 2);
  CHECK(plant.query("SELECT listener || hostname || ' ' || backend FROM routes") ==
        ":443app.example.com 192.0.2.9:443");
  CHECK(plant.query("SELECT who || '|' || action || '|' || detail FROM audit "
                    "ORDER BY id DESC") ==
        "CN=test|test|:443 app.example.com none -> 192.0.2.9:443");
  plant.restart();
  CHECK(plant.route("app.example.com") == "192.0.2.9:443");
}

TEST_CASE("what is there cannot be added, what is not there cannot be removed", "[control]") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  Control& control = plant.control();
  CHECK(
      refused(control.apply(Changes{add("SEED.example.com", "192.0.2.2:2")}, by_test()))
          .contains("already exists [0]: listener \":443\" has a route for \"seed.example.com\""));
  CHECK(refused(control.apply(Changes{RemoveRoute{":443", "other.example.com"}}, by_test()))
            .starts_with("not found [0]"));
  CHECK(refused(control.apply(Changes{block(RuleType::kIp, "203.0.113.50")}, by_test()))
            .starts_with("already exists [0]"));
  CHECK(refused(control.apply(Changes{RemoveRule{{RuleType::kIp, "192.0.2.1"}}}, by_test()))
            .starts_with("not found [0]"));
  CHECK(refused(control.apply(Changes{add("a.example.com", "192.0.2.1:1", ":1")}, by_test())) ==
        "not found [0]: no listener \":1\"; there are \":443\"");
  CHECK(control.state()->revision == 1);
  CHECK(plant.query("SELECT count(*) FROM audit") == "1");
}

TEST_CASE("each change of a batch sees what those before it did", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  const Applied applied = done(plant.control().apply(
      Changes{add("a.example.com"), RemoveRoute{":443", "a.example.com"},
              add("a.example.com", "192.0.2.7:7"),
              PutRoute{":443", {"a.example.com", "192.0.2.8:8"}}, add("b.example.com"),
              RemoveRoute{":443", "b.example.com"}, block(RuleType::kIp, "192.0.2.1"),
              RemoveRule{{RuleType::kIp, "192.0.2.1"}}},
      by_test()));
  CHECK(applied.routes_added == 1);
  CHECK(applied.routes_removed == 0);
  CHECK(applied.rules_added == 0);
  CHECK(plant.route("a.example.com") == "192.0.2.8:8");
  CHECK(plant.route("b.example.com") == "none");
}

TEST_CASE("a batch reports what each of its changes did, a large one only the sum", "[control]") {
  using Result = Effect::Result;
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  const PutRule known{{RuleType::kIp, "203.0.113.50"}};
  const PutRoute put{":443", {"seed.example.com", "192.0.2.8:8"}};
  const Applied applied = done(plant.control().apply(
      Changes{add("a.example.com"), put, put, known, PutRule{{RuleType::kIp, "192.0.2.1"}},
              RemoveRule{{RuleType::kCidr, "198.51.100.0/24"}},
              RemoveRoute{":443", "a.example.com"}},
      by_test()));
  std::vector<Result> results;
  for (const Effect& effect : applied.effects) results.push_back(effect.result);
  CHECK(results == std::vector{Result::kAdded, Result::kChanged, Result::kUnchanged,
                               Result::kUnchanged, Result::kAdded, Result::kRemoved,
                               Result::kRemoved});
  REQUIRE(applied.effects[1].previous.has_value());
  CHECK(applied.effects[1].previous->backend()->to_string() == "192.0.2.1:1");
  CHECK_FALSE(applied.effects[2].previous.has_value());
  CHECK(done(plant.control().apply(Changes(kEffectsMax, known), by_test())).effects.size() ==
        kEffectsMax);
  CHECK(done(plant.control().apply(Changes(kEffectsMax + 1, known), by_test())).effects.empty());
}

TEST_CASE("one change that cannot be made undoes the whole batch", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  CHECK(
      refused(plant.control().apply(Changes{add("a.example.com"), block(RuleType::kIp, "192.0.2.1"),
                                            RemoveRoute{":443", "never.example.com"}},
                                    by_test()))
          .starts_with("not found [2]"));
  CHECK(plant.route("a.example.com") == "none");
  CHECK(plant.control().state()->rules->size() == 0);
  CHECK(plant.query("SELECT count(*) FROM routes") == "0");
}

TEST_CASE("all that is wrong with a batch is told at once, up to a limit", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  const std::string text = refused(plant.control().apply(
      Changes{add("two words", "nowhere"), std::monostate{}, block(RuleType::kUnspecified, "x"),
              add("a.example.com", "127.0.0.1:443"), RemoveRoute{":443", ""}},
      by_test()));
  CHECK(text.contains("[0] hostname: \"two words\""));
  CHECK(text.contains("[0] backend: \"nowhere\""));
  CHECK(text.contains("[1] change: no change is set"));
  CHECK(text.contains("[2] rule type: no type is given"));
  CHECK(text.contains("[3] backend: \"127.0.0.1:443\": leads back to the listener \":443\""));
  CHECK(text.contains("[4] hostname"));

  const Changes many(100, add("two words"));
  const auto outcome = plant.control().apply(many, by_test());
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().violations.size() == kViolationsMax);
  CHECK(outcome.error().violations_more == 100 - kViolationsMax);
}

TEST_CASE("a batch beyond the limit is told the limit", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  const Changes many(kChangesMax + 1, std::monostate{});
  CHECK(refused(plant.control().apply(many, by_test())) ==
        "too many: 250001 changes; one request takes at most 250000: send them in parts");
}

TEST_CASE("what changes nothing makes no revision", "[control]") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  const auto put = PutRoute{":443", {"seed.example.com", "192.0.2.1:1"}};
  CHECK(done(plant.control().apply(Changes{put}, by_test())).revision == 1);
  CHECK(done(plant.control().apply(Changes{}, by_test())).revision == 1);
  CHECK(plant.query("SELECT count(*) FROM audit") == "1");
}

TEST_CASE("a dry run tells what would change and changes nothing", "[control]") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  ChangeOptions options = by_test();
  options.dry_run = true;
  const Applied applied = done(plant.control().apply(
      Changes{add("a.example.com"), RemoveRoute{":443", "seed.example.com"}}, options));
  CHECK(applied.revision == 1);
  CHECK(applied.routes_added == 1);
  CHECK(applied.routes_removed == 1);
  CHECK(plant.route("a.example.com") == "none");
  CHECK(plant.route("seed.example.com") == "192.0.2.1:1");
  CHECK(plant.query("SELECT count(*) FROM routes") == "1");
}

TEST_CASE("a request that was based on an older revision is refused", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  ChangeOptions options = by_test();
  options.if_revision = 1;
  CHECK(done(plant.control().apply(Changes{add("a.example.com")}, options)).revision == 2);
  CHECK(refused(plant.control().apply(Changes{add("b.example.com")}, options))
            .starts_with("stale: if_revision is 1, but the current revision is 2"));
  CHECK(refused(plant.control().replace_routes(":443", {}, options)).starts_with("stale"));
  CHECK(plant.route("b.example.com") == "none");
}

TEST_CASE("a replacement makes the routes of one listener exactly those", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  done(plant.control().apply(
      Changes{add("stays.example.com"), add("moves.example.com"), add("goes.example.com"),
              add("elsewhere.example.com", "192.0.2.1:443", ":8443")},
      by_test()));
  const std::vector<mc::policy::RouteText> routes = {{"stays.example.com", "192.0.2.1:443"},
                                                     {"moves.example.com", "203.0.113.2:443"},
                                                     {"*", "192.0.2.3:443"}};
  const Applied applied = done(plant.control().replace_routes(":443", routes, by_test()));
  CHECK(applied.routes_added == 1);
  CHECK(applied.routes_changed == 1);
  CHECK(applied.routes_removed == 1);
  CHECK(plant.route("moves.example.com") == "203.0.113.2:443");
  CHECK(plant.route("goes.example.com") == "192.0.2.3:443");
  CHECK(plant.route("elsewhere.example.com", 1) == "192.0.2.1:443");
  CHECK(plant.query("SELECT count(*) FROM routes") == "4");
}

TEST_CASE("a replacement that names a host twice is refused", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  const std::vector<mc::policy::RouteText> routes = {{"a.example.com", "192.0.2.1:443"},
                                                     {"A.example.com.", "203.0.113.2:443"}};
  CHECK(refused(plant.control().replace_routes(":443", routes, by_test()))
            .contains("[1] hostname: \"A.example.com.\": the same host name as routes[0]"));
}

TEST_CASE("routes of one host name live through a restart with what they ask for", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  const mc::policy::RouteText plain{.hostname = "a.example.com", .backend = "192.0.2.1:1"};
  mc::policy::RouteText office = plain;
  office.backend = "192.0.2.2:2";
  office.match.sources = {"192.0.2.9", "10.0.0.0/8"};
  done(
      plant.control().apply(Changes{AddRoute{":443", office}, AddRoute{":443", plain}}, by_test()));
  plant.restart();
  const auto target = [&plant](const char* client) {
    const auto* const route = plant.published().route(
        0, {.name = "a.example.com", .client = mc::IpAddress::parse(client).value()});
    return mc::policy::target_of(route->spec);
  };
  CHECK(target("192.0.2.9") == "192.0.2.2:2");
  CHECK(target("192.0.2.8") == "192.0.2.1:1");
  CHECK(plant.query("SELECT group_concat(sources, ' ') FROM routes") == " 10.0.0.0/8,192.0.2.9/32");
  // In whatever form and order the sources are written.
  const RemoveRoute remove{":443", "a.example.com", {.sources = {"10.0.0.0/8", "192.0.2.9/32"}}};
  done(plant.control().apply(Changes{remove}, by_test()));
  CHECK(target("192.0.2.9") == "192.0.2.1:1");
}

TEST_CASE("the fields of what a route asks for are refused by their names", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  const RemoveRoute remove{":443", "a.example.com", {.alpn = "a b", .sources = {"DE"}}};
  const std::string refusal = refused(plant.control().apply(Changes{remove}, by_test()));
  CHECK(refusal.contains("alpn: \"a b\": a route asks for one protocol"));
  CHECK(refusal.contains("sources: \"DE\": a country"));
}

TEST_CASE("a replacement may have several routes for a host, but none twice", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  std::vector<mc::policy::RouteText> routes = {
      {"a.example.com", "192.0.2.1:443"},
      {"a.example.com", "192.0.2.9:443", "", {.alpn = "h2", .sources = {"10.0.0.0/8"}}}};
  CHECK(done(plant.control().replace_routes(":443", routes, by_test())).routes_added == 2);
  routes.push_back(routes[1]);
  CHECK(refused(plant.control().replace_routes(":443", routes, by_test()))
            .contains("the same host name, alpn and sources as routes[1]; leave one out"));
}

TEST_CASE("a route that changes its backend goes on counting", "[control]") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  const auto counts = plant.published().route(0, {.name = "seed.example.com"})->counts;
  done(plant.control().apply(Changes{PutRoute{":443", {"seed.example.com", "192.0.2.2:2"}}},
                             by_test()));
  CHECK(plant.published().route(0, {.name = "seed.example.com"})->counts == counts);
}

TEST_CASE("a country rule needs a GeoIP database", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  CHECK(refused(plant.control().apply(Changes{block(RuleType::kCountry, "RU")}, by_test()))
            .starts_with("failed precondition: firewall: geoip_db is required"));
  Plant missing("[firewall]\ngeoip_db = \"/nonexistent/GeoLite2-Country.mmdb\"\n");
  REQUIRE(missing.open() == "");
  CHECK(refused(missing.control().apply(Changes{block(RuleType::kCountry, "RU")}, by_test()))
            .contains("/nonexistent/GeoLite2-Country.mmdb"));
  CHECK(missing.query("SELECT count(*) FROM firewall_rules") == "0");
}

// ---- trouble

TEST_CASE("what the database does not take was never made", "[control]") {
  Plant plant(kSeed);
  REQUIRE(plant.open() == "");
  {
    // A shell that holds the database's write lock.
    auto shell = mc::store::Connection::open(plant.database(), mc::store::Access::kReadWrite);
    REQUIRE(shell.has_value());
    REQUIRE(shell->execute("BEGIN IMMEDIATE").has_value());
    CHECK(refused(plant.control().apply(Changes{add("a.example.com")}, by_test()))
              .starts_with("store locked: database "));
    CHECK(plant.route("a.example.com") == "none");
    CHECK(plant.control().state()->revision == 1);
    REQUIRE(shell->execute("ROLLBACK").has_value());
  }
  CHECK(done(plant.control().apply(Changes{add("a.example.com")}, by_test())).revision == 2);
  CHECK(plant.route("a.example.com") == "192.0.2.1:443");
}

TEST_CASE("a server that stops takes no more changes", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  CHECK_FALSE(plant.control().stopping());
  plant.control().stop();
  CHECK(plant.control().stopping());
  CHECK(refused(plant.control().apply(Changes{add("a.example.com")}, by_test()))
            .starts_with("stopping"));
  CHECK(refused(plant.control().replace_routes(":443", {}, by_test())).starts_with("stopping"));
}

TEST_CASE("a database that somebody changed while it was out is not taken back", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  Control& control = plant.control();
  REQUIRE(control.apply(Changes{add("a.example.com")}, by_test()).has_value());
  control.release_database();
  CHECK(refused(control.apply(Changes{add("b.example.com")}, by_test())).starts_with("stopping: "));
  {
    // Like a successor that made a change and then gave up.
    auto store = mc::store::Store::open(plant.database());
    REQUIRE(store.has_value());
    REQUIRE((*store)->commit({.put_routes = {{":443", {"c.example.com", "192.0.2.1:443"}}}}, {}));
  }
  const auto taken = control.take_database_back();
  REQUIRE_FALSE(taken.has_value());
  CHECK(taken.error().message.contains("it is at revision 3, this server at 2"));
  CHECK(taken.error().message.contains("restart the server"));
  CHECK(refused(control.apply(Changes{add("b.example.com")}, by_test())).starts_with("stopping: "));
  CHECK(plant.route("a.example.com") != "none");
  CHECK(plant.route("c.example.com") == "none");
}

TEST_CASE("an unchanged database is taken back, and changes go on", "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  Control& control = plant.control();
  control.release_database();
  {
    REQUIRE(mc::store::Store::open(plant.database()).has_value());
  }
  REQUIRE(control.take_database_back().has_value());
  CHECK(control.apply(Changes{add("a.example.com")}, by_test()).has_value());
}

TEST_CASE("changes of several threads come one after the other, and readers see whole states",
          "[control]") {
  Plant plant;
  REQUIRE(plant.open() == "");
  Control& control = plant.control();
  constexpr int kWriters = 4;
  constexpr int kEach = 25;
  std::atomic<bool> writing{true};
  std::atomic<int> torn{0};
  std::thread reader([&] {
    while (writing) {
      // Both listeners get each name in one batch.
      const auto state = control.state();
      if (state->routes[0].size() != state->routes[1].size()) ++torn;
    }
  });
  std::vector<std::thread> writers;
  std::atomic<int> made{0};
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kEach; ++i) {
        const std::string name = fmt::format("w{}-{}.example.com", w, i);
        const Changes changes{add(name), add(name, "192.0.2.1:443", ":8443")};
        made += control.apply(changes, by_test()).has_value() ? 1 : 0;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  writing = false;
  reader.join();
  CHECK(made == kWriters * kEach);
  CHECK(torn == 0);
  CHECK(control.state()->revision == 1 + kWriters * kEach);
  plant.restart();
  CHECK(plant.control().state()->routes[1].size() == kWriters * kEach);
}
