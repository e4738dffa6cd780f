// SPDX-License-Identifier: Apache-2.0
#include "store/store.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "store/files.hpp"
#include "store/limits.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;
using Names = std::vector<std::string>;
using Routes = std::vector<RouteRecord>;
using Rules = std::vector<FirewallRule>;

namespace {

/// A change that needs some 1.3 MB.
ChangeSet large_change() {
  ChangeSet changes;
  for (int i = 0; i < 20'000; ++i) {
    changes.put_routes.push_back(
        {":443", {fmt::format("large-{}.example.com", i), "10.0.0.1:443"}});
  }
  return changes;
}

/// Commits with room, without, and with room again; `take_room` and `give_room` change the disk.
/// Returns "" if all is as it must be. For a child process.
template <class Take, class Give>
std::string commit_around_a_full_disk(const std::string& path, Take take_room, Give give_room) {
  auto store = Store::open(path);
  if (!store) return store.error().message;
  if (!(*store)->commit(change_to(1), by("before"))) return "the first commit failed";
  take_room();
  const auto refused = (*store)->commit(large_change(), by("without room"));
  if (refused) return "a commit found room";
  if (!refused.error().message.contains("no room left")) return refused.error().message;
  const auto between = (*store)->load();
  if (!between || to_text(*between) != expected_contents(1)) return "the failed commit left traces";
  give_room();
  const auto after = (*store)->commit(change_to(2), by("after"));
  if (!after) return after.error().message;
  store->reset();
  auto reopened = Store::open(path);
  if (!reopened) return reopened.error().message;
  const auto contents = (*reopened)->load();
  return contents && to_text(*contents) == expected_contents(2) ? "" : "wrong content at the end";
}

}  // namespace

TEST_CASE("a new database is fresh, empty and at revision 0") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  CHECK(store->fresh());
  CHECK(store->revision() == 0);
  CHECK(store->notices().empty());
  const Contents contents = load(*store);
  CHECK(contents.revision == 0);
  CHECK(contents.routes.empty());
  CHECK(contents.rules.empty());
}

TEST_CASE("the audit entries after a revision come in order, in parts, and from any thread") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  CHECK(Store::audit_after(dir.database(), 0, 10)->empty());
  for (int i = 1; i <= 5; ++i) {
    REQUIRE(store->commit(change_to(i), by("commit " + std::to_string(i))).has_value());
  }
  const auto revisions = [&](Revision after, std::size_t most) {
    std::vector<Revision> found;
    std::thread([&] {
      const auto records = Store::audit_after(dir.database(), after, most);
      for (const AuditRecord& record : records.value()) {
        found.push_back(record.revision);
      }
    }).join();
    return found;
  };
  CHECK(revisions(0, 10) == std::vector<Revision>{1, 2, 3, 4, 5});
  CHECK(revisions(2, 2) == std::vector<Revision>{3, 4});
  CHECK(revisions(4, 2) == std::vector<Revision>{5});
  CHECK(revisions(5, 10).empty());
  CHECK(revisions(99, 10).empty());
  const AuditRecord record = Store::audit_after(dir.database(), 2, 1)->front();
  CHECK(record.entry.time == by("").time);
  CHECK(record.entry.who == by("commit 3").who);
  CHECK(record.entry.action == by("commit 3").action);
  CHECK(record.entry.detail == by("commit 3").detail);
}

TEST_CASE("a database and its companions have mode 0600, whatever the umask") {
  for (const mode_t mask : {0000, 0022, 0277}) {
    const TempDir dir;
    const mode_t before = ::umask(mask);
    const auto store = open_store(dir.database());
    commit(*store, change_to(1));
    ::umask(before);
    for (const std::string& name : dir.names()) {
      INFO(name);
      CHECK(mode_of(dir.file(name)) == 0600);
    }
    CHECK(dir.names() ==
          Names{"mc-proxy.db", "mc-proxy.db-shm", "mc-proxy.db-wal", "mc-proxy.db.lock"});
  }
}

TEST_CASE("a closed database is one complete file, and the lock file") {
  const TempDir dir;
  commit(*open_store(dir.database()), change_to(1));
  CHECK(dir.names() == Names{"mc-proxy.db", "mc-proxy.db.lock"});
}

TEST_CASE("what was committed is there after reopening, in order") {
  const TempDir dir;
  {
    const auto store = open_store(dir.database());
    commit(*store, {.removed_routes = {},
                    .put_routes = {{":8443", {"a.example.com", "127.0.0.1:1"}},
                                   {":443", {"b.example.com", "127.0.0.1:2"}},
                                   {":443", {"*", "[::1]:3"}}},
                    .removed_rules = {},
                    .put_rules = {{"ip", "192.0.2.1"}, {"cidr", "198.51.100.0/24"}}});
    CHECK_FALSE(store->fresh());
  }
  const auto store = open_store(dir.database());
  CHECK_FALSE(store->fresh());
  const Contents contents = load(*store);
  CHECK(contents.revision == 1);
  CHECK(contents.routes == Routes{{":443", {"*", "[::1]:3"}},
                                  {":443", {"b.example.com", "127.0.0.1:2"}},
                                  {":8443", {"a.example.com", "127.0.0.1:1"}}});
  CHECK(contents.rules == Rules{{"cidr", "198.51.100.0/24"}, {"ip", "192.0.2.1"}});
}

TEST_CASE("routes of one host name are kept, replaced and removed by what they ask for") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  const auto to = [](std::string backend, mc::policy::RouteMatchText match) {
    return RouteRecord{
        ":443",
        {.hostname = "a.example.com", .backend = std::move(backend), .match = std::move(match)}};
  };
  const RouteRecord plain = to("127.0.0.1:1", {});
  const RouteRecord sources = to("127.0.0.1:2", {.sources = {"10.0.0.0/8", "192.0.2.1/32"}});
  const RouteRecord alpn = to("127.0.0.1:3", {.alpn = "h2"});
  const RouteRecord both = to("127.0.0.1:4", {.alpn = "h2", .sources = {"10.0.0.0/8"}});
  commit(*store, {.put_routes = {both, alpn, sources, plain}});
  CHECK(load(*store).routes == Routes{plain, sources, alpn, both});

  const RouteRecord replaced = to("127.0.0.1:5", sources.text.match);
  commit(*store, {.removed_routes = {{":443", "a.example.com"}, {":443", "a.example.com", {"h2"}}},
                  .put_routes = {replaced}});
  CHECK(load(*store).routes == Routes{replaced, both});
}

TEST_CASE("a change set removes first, then puts, and asks for nothing that is so already") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  const RouteRecordKey key{":443", "a.example.com"};
  const auto to = [&key](std::string backend) {
    return RouteRecord{key.listener, {key.hostname, std::move(backend)}};
  };
  commit(*store, {.removed_routes = {},
                  .put_routes = {to("127.0.0.1:1")},
                  .removed_rules = {},
                  .put_rules = {{"ip", "192.0.2.1"}}});
  SECTION("a route and a rule that are removed and put are there") {
    commit(*store, {.removed_routes = {key},
                    .put_routes = {to("127.0.0.1:2")},
                    .removed_rules = {{"ip", "192.0.2.1"}},
                    .put_rules = {{"ip", "192.0.2.1"}}});
    CHECK(load(*store).routes == Routes{to("127.0.0.1:2")});
    CHECK(load(*store).rules == Rules{{"ip", "192.0.2.1"}});
  }
  SECTION("what is put again stays, with the new backend") {
    commit(*store, {.removed_routes = {},
                    .put_routes = {to("127.0.0.1:3")},
                    .removed_rules = {},
                    .put_rules = {{"ip", "192.0.2.1"}}});
    CHECK(load(*store).routes == Routes{to("127.0.0.1:3")});
    CHECK(load(*store).rules == Rules{{"ip", "192.0.2.1"}});
  }
  SECTION("what is not there can be removed") {
    commit(*store, {.removed_routes = {{":80", "a.example.com"}},
                    .put_routes = {},
                    .removed_rules = {{"cidr", "192.0.2.1"}},
                    .put_rules = {}});
    CHECK(load(*store).routes == Routes{to("127.0.0.1:1")});
    CHECK(load(*store).revision == 2);
  }
}

TEST_CASE("what a database holds can be looked at beside its server, and without one") {
  const TempDir dir;
  REQUIRE(Store::inspect(dir.database()).has_value());
  CHECK(Store::inspect(dir.database())->revision == 0);
  CHECK(dir.names().empty());
  {
    const auto store = open_store(dir.database());
    commit(*store, change_to(1));
    commit(*store, change_to(2));
    CHECK(to_text(Store::inspect(dir.database()).value()) == expected_contents(2));
  }
  CHECK(to_text(Store::inspect(dir.database()).value()) == expected_contents(2));
  write_file(dir.database(), "no database");
  CHECK_FALSE(Store::inspect(dir.database()).has_value());
  CHECK(Store::inspect(dir.file("none/mc-proxy.db"))
            .error()
            .message.contains("there is no directory"));
}

TEST_CASE("a database whose last route was removed is not fresh") {
  const TempDir dir;
  {
    const auto store = open_store(dir.database());
    const RouteRecord route{":443", {"a.example.com", "127.0.0.1:1"}};
    commit(*store, {{}, {route}, {}, {}});
    commit(*store, {{{route.listener, route.text.hostname}}, {}, {}, {}});
  }
  const auto store = open_store(dir.database());
  CHECK_FALSE(store->fresh());
  CHECK(load(*store).routes.empty());
}

TEST_CASE("a database is fresh until its first commit, however often it is opened") {
  const TempDir dir;
  CHECK(open_store(dir.database())->fresh());
  CHECK(open_store(dir.database())->fresh());
  commit(*open_store(dir.database()), {});
  CHECK_FALSE(open_store(dir.database())->fresh());
}

TEST_CASE("texts come back byte for byte") {
  using namespace std::string_literals;
  const TempDir dir;
  const auto store = open_store(dir.database());
  const RouteRecord odd{"'; DROP TABLE routes; --",
                        {"nul\0inside"s, "\"quotes\" and ünïcödé \xff"}};
  const RouteRecord empty{"", {"", ""}};
  commit(*store, {{}, {odd, empty}, {}, {{"", ""}}});
  CHECK(load(*store).routes == Routes{empty, odd});
  CHECK(load(*store).rules == Rules{{"", ""}});
}

TEST_CASE("each commit leaves one audit entry with its revision") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  const auto row = [&](int id) {
    return query(
        dir.database(),
        fmt::format("SELECT time_unix_ms || ' ' || revision || ' ' || who || ' ' || action "
                    "|| ' ' || detail FROM audit WHERE id = {}",
                    id));
  };
  REQUIRE(store->commit({}, by("CN=alice")).has_value());
  REQUIRE(store->commit({}, by("uid 1000")).has_value());
  CHECK(row(1) == "1700000000123 1 CN=alice action detail");
  CHECK(row(2) == "1700000000123 2 uid 1000 action detail");
  CHECK(query(dir.database(), "SELECT count(*) FROM audit") == "2");
}

TEST_CASE("an audit text that is too long is cut between characters") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  std::string text(kAuditTextBytesMax - 1, 'x');
  REQUIRE(store->commit({}, by(text + "é!")).has_value());
  CHECK(query(dir.database(), "SELECT who FROM audit") == text + "...");
}

TEST_CASE("the audit keeps the latest entries, up to its limit") {
  const TempDir dir;
  commit(*open_store(dir.database()), {});
  execute(dir.database(),
          fmt::format("INSERT INTO audit SELECT value + 2, 0, 0, '', '', '' FROM (WITH RECURSIVE "
                      "n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n LIMIT {}) "
                      "SELECT value FROM n)",
                      kAuditEntriesMax));
  commit(*open_store(dir.database()), {});
  CHECK(query(dir.database(), "SELECT count(*) FROM audit") == std::to_string(kAuditEntriesMax));
  CHECK(query(dir.database(), "SELECT who FROM audit ORDER BY id DESC LIMIT 1") == "test");
  CHECK(query(dir.database(), "SELECT min(id) FROM audit") == "3");
}

TEST_CASE("a commit that meets another program's lock changes nothing, and the next one works") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  {
    auto shell = Connection::open(dir.database(), Access::kReadWrite);
    REQUIRE(shell->execute("BEGIN IMMEDIATE").has_value());
    const auto refused = store->commit(change_to(2), by("test"));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().trouble == Trouble::kLocked);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().message.contains("locked by another program"));
    CHECK(store->revision() == 1);
    CHECK(to_text(load(*store)) == expected_contents(1));
  }
  commit(*store, change_to(2));
  CHECK(to_text(load(*store)) == expected_contents(2));
}

TEST_CASE("a commit is refused when the file was removed or replaced, and changes nothing") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  std::filesystem::rename(dir.database(), dir.file("moved.db"));
  const auto refused = store->commit(change_to(2), by("test"));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.contains(
      "replaced or removed by another program while mc-proxy runs"));
  std::filesystem::rename(dir.file("moved.db"), dir.database());
  commit(*store, change_to(2));
}

TEST_CASE("a commit is refused when another program has changed the revision") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  execute(dir.database(), "UPDATE state SET revision = 7");
  const auto refused = store->commit(change_to(2), by("test"));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.contains("changed, replaced or removed by another program"));
  CHECK(refused.error().trouble == Trouble::kReplaced);
  CHECK(query(dir.database(), "SELECT count(*) FROM audit") == "1");
}

TEST_CASE("the log does not grow with the number of commits, nor stay as large as the largest") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, large_change());
  ChangeSet huge;
  for (const RouteRecord& route : load(*store).routes) {
    for (const char* listener : {":1", ":2", ":3", ":4", ":5", ":6"}) {
      huge.put_routes.push_back({listener, route.text});
    }
  }
  commit(*store, huge);
  const auto log_bytes = [&] { return file_bytes(wal_path(dir.database())); };
  CHECK(log_bytes() > static_cast<std::uint64_t>(kWalBytesKept));
  store->checkpoint();
  for (Revision r = 3; r <= 5 * kCommitsInLogMax; ++r) commit(*store, change_to(r));
  CHECK(log_bytes() <= static_cast<std::uint64_t>(kWalBytesKept));
}

TEST_CASE("commits wait in the log until it is moved, but not more than a few") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  const auto in_main_file = [&] {
    auto alone = Connection::open(dir.database(), Access::kMainFileOnly);
    REQUIRE(alone.has_value());
    return alone->query_integer("SELECT revision FROM state").value();
  };
  for (Revision r = 1; r <= 3; ++r) commit(*store, change_to(r));
  CHECK(in_main_file() == 0);
  store->checkpoint();
  CHECK(in_main_file() == 3);
  for (Revision r = 4; r <= 3 + kCommitsInLogMax; ++r) commit(*store, change_to(r));
  CHECK(in_main_file() == 3 + kCommitsInLogMax);
}

// A reader holds back what is newer than its state. Then the main file may be shorter than its
// header states, and is no database without its log.
TEST_CASE("a part of the log that is not moved yet is no other program's writing") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  const std::string log = dir.database() + "-wal";
  for (Revision r = 1; r <= 200; ++r) {
    commit(*store, change_to(2 * r - 1));
    const PinnedReader reader(dir.database());
    commit(*store, change_to(2 * r));
    store->checkpoint();
    // As SQLite of root does when it opens the log.
    REQUIRE(::chmod(log.c_str(), r % 2 == 0 ? 0600 : 0640) == 0);
    REQUIRE(::chmod(dir.database().c_str(), r % 2 == 0 ? 0600 : 0640) == 0);
    INFO(r);
    REQUIRE(store->is_undisturbed());
  }
}

TEST_CASE("a reader that stays keeps no commit back") {
  const TempDir dir;
  {
    const auto store = open_store(dir.database());
    const PinnedReader reader(dir.database());
    for (Revision r = 1; r <= 30; ++r) commit(*store, change_to(r));
  }
  CHECK(to_text(load(*open_store(dir.database()))) == expected_contents(30));
}

TEST_CASE("a commit without room on the disk changes nothing, and works once there is room") {
  SECTION("the file size limit of the process") {
    const TempDir dir;
    const std::string fault = answer_of_child([&] {
      ::signal(SIGXFSZ, SIG_IGN);
      const auto limit_files = [](rlim_t bytes) {
        const rlimit limit{.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &limit);
      };
      return commit_around_a_full_disk(
          dir.database(), [&] { limit_files(256 * 1024); }, [&] { limit_files(RLIM_INFINITY); });
    });
    CHECK(fault == "");
  }
  SECTION("a full file system") {
    const TempDir dir;
    const std::string fault = answer_of_child([&]() -> std::string {
      if (!mount_small_disk(dir.path(), "1m")) return "no mounts here";
      // The change alone is larger than the disk.
      return commit_around_a_full_disk(dir.database(), [] {}, [] {});
    });
    if (fault == "no mounts here") {
      WARN("this machine allows no mounts: the full file system was not tried");
    } else {
      CHECK(fault == "");
    }
  }
}

TEST_CASE("a batch of 100,000 routes is one revision") {
  const TempDir dir;
  ChangeSet changes;
  for (int i = 0; i < 100'000; ++i) {
    changes.put_routes.push_back({":443", {fmt::format("h{:06}.example.com", i), "10.0.0.1:443"}});
  }
  {
    const auto store = open_store(dir.database());
    commit(*store, changes);
  }
  const auto store = open_store(dir.database());
  const Contents contents = load(*store);
  CHECK(contents.revision == 1);
  CHECK((contents.routes == changes.put_routes));
}
