// SPDX-License-Identifier: Apache-2.0
#include "store/schema.hpp"

#include <string>
#include <vector>

#include "store/sqlite.hpp"
#include "store/store.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;

namespace {

/// A database as the first release made it, with one commit: the text is frozen, later code must
/// read it.
constexpr const char* kVersion1 = R"sql(
PRAGMA application_id = 1835225208;
PRAGMA user_version = 1;
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,
  incarnation TEXT NOT NULL,
  base_incarnation TEXT NOT NULL,
  base_revision INTEGER NOT NULL
) STRICT;
CREATE TABLE routes (
  listener TEXT NOT NULL,
  hostname TEXT NOT NULL,
  backend TEXT NOT NULL,
  PRIMARY KEY (listener, hostname)
) STRICT, WITHOUT ROWID;
CREATE TABLE firewall_rules (
  type TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (type, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  time_unix_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
INSERT INTO state VALUES (1, 1, 'abc', 'abc', 0);
INSERT INTO routes VALUES (':443', 'a.example.com', '127.0.0.1:1');
INSERT INTO firewall_rules VALUES ('ip', '192.0.2.1');
INSERT INTO audit VALUES (1, 1700000000123, 1, 'CN=alice', 'AddRoute', 'a.example.com');
)sql";

/// A database of version 2, with one commit; frozen likewise.
constexpr const char* kVersion2 = R"sql(
PRAGMA application_id = 1835225208;
PRAGMA user_version = 2;
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,
  incarnation TEXT NOT NULL,
  base_incarnation TEXT NOT NULL,
  base_revision INTEGER NOT NULL
) STRICT;
CREATE TABLE routes (
  listener TEXT NOT NULL,
  hostname TEXT NOT NULL,
  backend TEXT NOT NULL,
  pool TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (listener, hostname)
) STRICT, WITHOUT ROWID;
CREATE TABLE firewall_rules (
  type TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (type, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  time_unix_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE TABLE pools (
  name TEXT PRIMARY KEY,
  balance TEXT NOT NULL,
  hash_prefix_v4 INTEGER NOT NULL,
  hash_prefix_v6 INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  dial_budget_ms INTEGER NOT NULL,
  slow_start_ms INTEGER NOT NULL,
  all_down TEXT NOT NULL,
  on_down TEXT NOT NULL,
  check_kind TEXT NOT NULL,
  check_name TEXT NOT NULL,
  check_interval_ms INTEGER NOT NULL,
  check_fast_interval_ms INTEGER NOT NULL,
  check_timeout_ms INTEGER NOT NULL,
  check_rise INTEGER NOT NULL,
  check_fall INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE backends (
  pool TEXT NOT NULL REFERENCES pools ON DELETE CASCADE,
  place INTEGER NOT NULL,
  address TEXT NOT NULL,
  weight INTEGER NOT NULL,
  backup INTEGER NOT NULL,
  max_connections INTEGER NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (pool, address)
) STRICT, WITHOUT ROWID;
INSERT INTO state VALUES (1, 1, 'abc', 'abc', 0);
INSERT INTO routes VALUES (':443', 'a.example.com', '127.0.0.1:1', '');
INSERT INTO routes VALUES (':443', 'b.example.com', '', 'app');
INSERT INTO pools VALUES ('app', 'round_robin', 32, 64, 1, 5000, 0, 'refuse', 'keep', 'none', '',
                          2000, 500, 1000, 2, 3);
INSERT INTO backends VALUES ('app', 0, '10.0.0.1:443', 100, 0, 0, 'ready');
)sql";

const std::vector<RouteRecord> kRoutesOfVersion2 = {{":443", {"a.example.com", "127.0.0.1:1", ""}},
                                                    {":443", {"b.example.com", "", "app"}}};

constexpr Migration kSteps[] = {
    "CREATE TABLE one (x INTEGER); INSERT INTO one VALUES (1);",
    "ALTER TABLE one ADD COLUMN y INTEGER; UPDATE one SET y = 2;",
    "CREATE TABLE three (x INTEGER);",
};

void make(const std::string& path, const char* sql) {
  write_file(path, "");
  execute(path, sql);
}

}  // namespace

TEST_CASE("a database of version 1 is opened with all that is in it") {
  const TempDir dir;
  make(dir.database(), kVersion1);
  const auto store = open_store(dir.database());
  const Contents contents = load(*store);
  CHECK(contents.revision == 1);
  CHECK(contents.routes == std::vector<RouteRecord>{{":443", {"a.example.com", "127.0.0.1:1"}}});
  CHECK(contents.rules == std::vector<FirewallRule>{{"ip", "192.0.2.1"}});
  commit(*store, change_to(2));
  CHECK(query(dir.database(), "SELECT count(*) FROM audit") == "2");
  CHECK(query(dir.database(), "PRAGMA user_version") == std::to_string(migrations().size()));
}

TEST_CASE("a database of version 1 gets room for pools") {
  const TempDir dir;
  make(dir.database(), kVersion1);
  const auto store = open_store(dir.database());
  CHECK(load(*store).pools.empty());
  const RouteRecord to_pool{":443", {.hostname = "b.example.com", .backend = "", .pool = "app"}};
  const PoolRecord pool{.name = "app", .settings = {}, .backends = {{.address = "10.0.0.1:443"}}};
  commit(*store, {.put_routes = {to_pool}, .put_pools = {pool}});
  const Contents contents = load(*store);
  CHECK(contents.routes ==
        std::vector<RouteRecord>{{":443", {"a.example.com", "127.0.0.1:1"}}, to_pool});
  CHECK(contents.pools == std::vector{pool});
}

TEST_CASE("a database of version 1 that is only inspected stays one") {
  const TempDir dir;
  make(dir.database(), kVersion1);
  const auto contents = Store::inspect(dir.database());
  REQUIRE(contents.has_value());
  CHECK(contents->routes == std::vector<RouteRecord>{{":443", {"a.example.com", "127.0.0.1:1"}}});
  CHECK(contents->rules == std::vector<FirewallRule>{{"ip", "192.0.2.1"}});
  CHECK(contents->pools.empty());
  CHECK(query(dir.database(), "PRAGMA user_version") == "1");
}

TEST_CASE("a database of version 2 keeps its routes, and gets room for what they ask for") {
  const TempDir dir;
  make(dir.database(), kVersion2);
  const auto store = open_store(dir.database());
  CHECK(load(*store).routes == kRoutesOfVersion2);
  const RouteRecord matching{":443",
                             {.hostname = "a.example.com",
                              .backend = "127.0.0.1:2",
                              .match = {.alpn = "h2", .sources = {"10.0.0.0/8", "::1/128"}}}};
  commit(*store, {.put_routes = {matching}});
  CHECK(load(*store).routes == std::vector{kRoutesOfVersion2[0], matching, kRoutesOfVersion2[1]});
  CHECK(query(dir.database(), "PRAGMA user_version") == std::to_string(migrations().size()));
}

TEST_CASE("a database of version 2 that is only inspected stays one") {
  const TempDir dir;
  make(dir.database(), kVersion2);
  const auto contents = Store::inspect(dir.database());
  REQUIRE(contents.has_value());
  CHECK(contents->routes == kRoutesOfVersion2);
  CHECK(query(dir.database(), "PRAGMA user_version") == "2");
}

TEST_CASE("a database of any older version sees the migrations that it lacks, and no other") {
  for (std::size_t seen = 0; seen <= std::size(kSteps); ++seen) {
    INFO(seen);
    const TempDir dir;
    make(dir.database(), "PRAGMA user_version = 0");
    auto connection = Connection::open(dir.database(), Access::kReadWrite);
    REQUIRE(migrate(*connection, std::span(kSteps).first(seen)).has_value());
    CHECK(connection->query_integer("PRAGMA user_version") == static_cast<std::int64_t>(seen));
    REQUIRE(migrate(*connection, kSteps).has_value());
    CHECK(connection->query_integer("PRAGMA user_version") == 3);
    CHECK(connection->query_integer("SELECT sum(x + y) FROM one") == 3);
    CHECK(connection->query_integer("SELECT count(*) FROM three") == 0);
  }
}

TEST_CASE("migrations are made together or not at all") {
  constexpr Migration kFaulty[] = {kSteps[0], kSteps[1], "CREATE TABLE one (x INTEGER)"};
  const TempDir dir;
  make(dir.database(), "PRAGMA user_version = 0");
  auto connection = Connection::open(dir.database(), Access::kReadWrite);
  REQUIRE(migrate(*connection, std::span(kFaulty).first(1)).has_value());
  CHECK_FALSE(migrate(*connection, kFaulty).has_value());
  CHECK(connection->query_integer("PRAGMA user_version") == 1);
  CHECK_FALSE(connection->query_integer("SELECT y FROM one").has_value());
  REQUIRE(migrate(*connection, kSteps).has_value());
  CHECK(connection->query_integer("SELECT y FROM one") == 2);
}

TEST_CASE("a database with more migrations than are known is left alone") {
  const TempDir dir;
  make(dir.database(), "PRAGMA user_version = 4");
  auto connection = Connection::open(dir.database(), Access::kReadWrite);
  CHECK_FALSE(migrate(*connection, kSteps).has_value());
  CHECK(connection->query_integer("PRAGMA user_version") == 4);
  CHECK(connection->query_integer("SELECT count(*) FROM sqlite_schema") == 0);
}
