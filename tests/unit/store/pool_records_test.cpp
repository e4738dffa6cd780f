// SPDX-License-Identifier: Apache-2.0
#include "store/pool_records.hpp"

#include <chrono>
#include <string>
#include <vector>

#include "store/store.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace std::chrono_literals;
using namespace mc::store;
using namespace mc::store::test;
using Pools = std::vector<PoolRecord>;

namespace {

/// A pool with nothing at its default.
PoolRecord full_pool() {
  return {.name = "full",
          .settings = {.balance = mc::policy::Balance::kHashSource,
                       .hash_prefix_v4 = 24,
                       .hash_prefix_v6 = 48,
                       .retries = 8,
                       .dial_budget = 1500ms,
                       .slow_start = 30s,
                       .all_down = mc::policy::AllDown::kRefuse,
                       .on_down = mc::policy::OnDown::kReset,
                       .send_proxy = mc::policy::SendProxy::kV2,
                       .send_proxy_tlvs = {.authority = true, .crc32c = true},
                       .check = {.kind = mc::policy::CheckKind::kTls,
                                 .name = "app.example.com",
                                 .interval = 10s,
                                 .fast_interval = 250ms,
                                 .timeout = 1s,
                                 .rise = 4,
                                 .fall = 5}},
          // Not in the order of their addresses.
          .backends = {{.address = "10.0.0.2:443", .weight = 0, .backup = true},
                       {.address = "10.0.0.1:443",
                        .max_connections = 1'000'000'000,
                        .state = mc::policy::AdminState::kMaintenance},
                       {.address = "[2001:db8::1]:443", .state = mc::policy::AdminState::kDrain}}};
}

PoolRecord pool(std::string name, std::string address = "10.0.0.1:443") {
  return {.name = std::move(name), .settings = {}, .backends = {{.address = std::move(address)}}};
}

std::string load_error(Store& store) {
  const auto contents = store.load();
  return contents.has_value() ? "" : contents.error().message;
}

}  // namespace

TEST_CASE("pools come back as they were put, ordered by name, after a restart too") {
  const TempDir dir;
  auto store = open_store(dir.database());
  commit(*store, {.put_pools = {pool("b"), full_pool(), pool("a")}});
  const Pools expected = {pool("a"), pool("b"), full_pool()};
  CHECK(load(*store).pools == expected);
  store.reset();
  store = open_store(dir.database());
  CHECK(load(*store).pools == expected);
  CHECK(Store::inspect(dir.database())->pools == expected);
}

TEST_CASE("a pool that is put replaces the one with its name, with all backends") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, {.put_pools = {full_pool(), pool("other")}});
  PoolRecord next = pool("full", "10.0.0.9:443");
  commit(*store, {.put_pools = {next}});
  CHECK(load(*store).pools == Pools{next, pool("other")});
  CHECK(query(dir.database(), "SELECT count(*) FROM backends") == "2");
}

TEST_CASE("a pool goes with its backends, and one that is not there may be removed") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, {.put_pools = {full_pool(), pool("other")}});
  commit(*store, {.removed_pools = {"full", "missing"}});
  CHECK(load(*store).pools == Pools{pool("other")});
  CHECK(query(dir.database(), "SELECT count(*) FROM backends") == "1");
}

TEST_CASE("a commit removes pools before it puts them") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, {.removed_pools = {"a"}, .put_pools = {pool("a")}});
  CHECK(load(*store).pools == Pools{pool("a")});
}

TEST_CASE("a route leads to a backend or to a pool, and from one to the other") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  const RouteRecord to_pool{":443", {.hostname = "a.example.com", .backend = "", .pool = "app"}};
  const RouteRecord to_backend{":443", {.hostname = "a.example.com", .backend = "10.0.0.1:443"}};
  for (const RouteRecord& record : {to_backend, to_pool, to_backend}) {
    commit(*store, {.put_routes = {record}});
    CHECK(load(*store).routes == std::vector{record});
  }
}

TEST_CASE("a word that no version wrote is named with its pool and the known ones") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, {.put_pools = {full_pool()}});
  execute(dir.database(), "UPDATE backends SET state = 'up' WHERE address = '10.0.0.1:443'");
  CHECK(load_error(*store).ends_with(
      "the pool \"full\": state is \"up\", and none of ready, drain, maintenance (backend "
      "10.0.0.1:443); somebody edited the database: correct the record with sqlite3, or restore a "
      "backup"));
  execute(dir.database(), "UPDATE backends SET state = 'ready'");
  execute(dir.database(), "UPDATE pools SET send_proxy_tlvs = 'authority ssl'");
  CHECK(load_error(*store).contains(
      "the pool \"full\": send_proxy_tlvs is \"authority ssl\", and none of authority, "
      "unique_id, crc32c; "));
  execute(dir.database(), "UPDATE pools SET balance = 'leastconn'");
  CHECK(load_error(*store).contains(
      "the pool \"full\": balance is \"leastconn\", and none of random_two, round_robin, "
      "least_connections, hash_source, hash_name; "));
}

TEST_CASE("backends of a pool that was deleted with sqlite3 are not in the way of a new one") {
  const TempDir dir;
  auto store = open_store(dir.database());
  commit(*store, {.put_pools = {pool("a")}});
  execute(dir.database(), "PRAGMA foreign_keys = OFF; DELETE FROM pools");
  CHECK(query(dir.database(), "SELECT count(*) FROM backends") == "1");
  commit(*store, {.put_pools = {pool("a")}});
  CHECK(store->load().value().pools == Pools{pool("a")});
}
