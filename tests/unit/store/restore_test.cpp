// SPDX-License-Identifier: Apache-2.0
// The RUNBOOK's restore (stop, cp a backup over the database, start) after a server that was killed
// and left its write-ahead log: the backup starts, however it was made, and a log that belongs to
// its database is never lost.

#include "store/wal_pairing.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <filesystem>
#include <string>

#include "store/file_header.hpp"
#include "store/files.hpp"
#include "store/store.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;

namespace {

void snapshot(const std::string& path, const std::string& destination) {
  const auto taken = Store::snapshot_file(path, destination);
  INFO((taken ? "" : taken.error().message));
  REQUIRE(taken.has_value());
}

/// What `sqlite3 PATH ".backup DESTINATION"` does: a copy page by page, log mode and all.
void sqlite_backup(const std::string& path, const std::string& destination) {
  sqlite3* from = nullptr;
  sqlite3* to = nullptr;
  REQUIRE(sqlite3_open_v2(path.c_str(), &from, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
  REQUIRE(sqlite3_open(destination.c_str(), &to) == SQLITE_OK);
  sqlite3_backup* backup = sqlite3_backup_init(to, "main", from, "main");
  REQUIRE(backup != nullptr);
  CHECK(sqlite3_backup_step(backup, -1) == SQLITE_DONE);
  CHECK(sqlite3_backup_finish(backup) == SQLITE_OK);
  sqlite3_close(to);
  sqlite3_close(from);
}

bool has_log(const TempDir& dir) { return file_bytes(wal_path(dir.database())) > 0; }

/// Requires that a server that starts now has just this content, soundly, also after the next
/// start.
void check_start(const TempDir& dir, Revision expected) {
  {
    const auto store = open_store(dir.database());
    CHECK(to_text(load(*store)) == expected_contents(expected));
    CHECK(query(dir.database(), "PRAGMA integrity_check") == "ok");
    commit(*store, change_to(expected + 1));
  }
  CHECK(to_text(load(*open_store(dir.database()))) == expected_contents(expected + 1));
}

}  // namespace

TEST_CASE("what starts after a restore over a killed server's database is the backup") {
  const TempDir dir;
  const std::string backup = dir.file("backup.db");
  ServerProcess server(dir.database());
  server.commit(10);
  std::optional<PinnedReader> reader;
  Revision expected = 10;

  SECTION("a snapshot, and a log of one commit") {
    snapshot(dir.database(), backup);
    server.commit(1);
  }
  SECTION("a snapshot, and a log that was written over many times") {
    snapshot(dir.database(), backup);
    server.commit(100);
  }
  SECTION("a snapshot, and a log of many commits that a reader kept back") {
    snapshot(dir.database(), backup);
    reader.emplace(dir.database());
    server.commit(100);
  }
  SECTION("a snapshot of just the moment of the kill") { snapshot(dir.database(), backup); }
  SECTION("VACUUM INTO by hand") {
    execute(dir.database(), fmt::format("VACUUM INTO '{}'", backup));
    server.commit(1);
  }
  SECTION("sqlite3's .backup, and more than one commit since") {
    sqlite_backup(dir.database(), backup);
    server.commit(2);
  }
  SECTION("cp of the file of the running server, and more than one commit since") {
    copy_over(dir.database(), backup);
    server.commit(2);
  }
  server.kill();
  reader.reset();
  REQUIRE(has_log(dir));
  copy_over(backup, dir.database());
  check_start(dir, expected);
}

TEST_CASE("what starts is the backup also when the same one is restored again") {
  const TempDir dir;
  const std::string backup = dir.file("backup.db");
  commit(*open_store(dir.database()), change_to(1));
  SECTION("a snapshot") { snapshot(dir.database(), backup); }
  SECTION("cp of the file of a stopped server") { copy_over(dir.database(), backup); }
  for (int i = 0; i < 3; ++i) {
    copy_over(backup, dir.database());
    ServerProcess server(dir.database());
    server.commit(1);
    server.kill();
    REQUIRE(has_log(dir));
  }
  copy_over(backup, dir.database());
  check_start(dir, 1);
}

TEST_CASE("what starts is the backup also when it has the revision of what it replaces") {
  const TempDir dir;
  const TempDir other;
  for (Revision r = 1; r <= 5; ++r) commit(*open_store(other.database()), change_to(r));
  ServerProcess server(dir.database());
  server.commit(4);
  server.kill();
  execute(dir.database(), "UPDATE routes SET backend = 'wrong'");
  ServerProcess again(dir.database());
  again.commit(1);
  again.kill();
  REQUIRE(has_log(dir));
  copy_over(other.database(), dir.database());
  check_start(dir, 5);
}

TEST_CASE("a log that was not the database's own is kept under another name, with a notice") {
  const TempDir dir;
  const std::string backup = dir.file("backup.db");
  ServerProcess server(dir.database());
  server.commit(1);
  snapshot(dir.database(), backup);
  server.commit(1);
  server.kill();
  const std::string log = read_file(wal_path(dir.database()));
  copy_over(backup, dir.database());
  const auto store = open_store(dir.database());
  REQUIRE(store->notices().size() == 1);
  CHECK(store->notices()[0].contains(replaced_wal_path(dir.database())));
  CHECK((read_file(replaced_wal_path(dir.database())) == log));
}

TEST_CASE("a database that was removed is made anew, whatever its server left") {
  const TempDir dir;
  ServerProcess server(dir.database());
  server.commit(3);
  SECTION("a log of one commit") { server.kill(); }
  SECTION("a log of many commits") {
    const PinnedReader reader(dir.database());
    server.commit(20);
    server.kill();
  }
  REQUIRE(has_log(dir));
  std::filesystem::remove(dir.database());
  const auto store = open_store(dir.database());
  CHECK(store->fresh());
  CHECK(to_text(load(*store)) == expected_contents(0));
}

TEST_CASE("a killed server's own log is not lost") {
  const TempDir dir;
  ServerProcess server(dir.database());
  server.commit(3);
  SECTION("one commit that may have been moved") { server.commit(1); }
  SECTION("commits that a reader kept back") {
    const PinnedReader reader(dir.database());
    server.commit(1);
  }
  SECTION("commits that a reader kept back over a restart") {
    // The second server cannot empty the log of the first, and goes on with it; the third too.
    const PinnedReader reader(dir.database());
    server.commit(1);
    server.kill();
    ServerProcess second(dir.database());
    CHECK(second.commit(3) == 7);
    second.kill();
    ServerProcess third(dir.database());
    CHECK(third.commit(3) == 10);
    third.kill();
    CHECK(file_bytes(wal_path(dir.database())) > 0);
    CHECK(to_text(load(*open_store(dir.database()))) == expected_contents(10));
    return;
  }
  server.kill();
  REQUIRE(has_log(dir));
  const auto store = open_store(dir.database());
  CHECK(store->notices().empty());
  CHECK(to_text(load(*store)) == expected_contents(4));
}

TEST_CASE("a log is moved to another directory with its database") {
  const TempDir dir;
  ServerProcess server(dir.database());
  server.commit(3);
  const PinnedReader reader(dir.database());
  server.commit(5);
  server.kill();
  const TempDir other;
  copy_over(dir.database(), other.database());
  copy_over(wal_path(dir.database()), wal_path(other.database()));
  CHECK(to_text(load(*open_store(other.database()))) == expected_contents(8));
}

TEST_CASE("a log is the database's own however much of it the main file has got already") {
  const TempDir dir;
  ServerProcess server(dir.database());
  server.commit(30);
  const std::string base = read_file(dir.database());
  std::optional<PinnedReader> reader(dir.database());
  server.commit(60);
  const std::string log = read_file(wal_path(dir.database()));
  reader.reset();
  server.commit(1);  // moves all, and this
  server.kill();

  // A checkpoint writes the pages in order. Killed at any page, the log has the rest; the last
  // commit is not in this log, and so not expected.
  std::filesystem::remove(wal_path(dir.database()));
  write_file(dir.file("mc-proxy.db"), base);
  write_file(wal_path(dir.database()), log);
  execute(dir.database(), "PRAGMA wal_checkpoint(TRUNCATE)");
  const std::string moved = read_file(dir.database());
  REQUIRE(moved.size() >= base.size());
  for (std::size_t cut = 0; cut <= moved.size(); cut += 4096) {
    INFO(cut);
    const TempDir killed;
    std::string half = moved.substr(0, cut);
    if (cut < base.size()) half += base.substr(cut);
    write_file(killed.database(), half);
    write_file(wal_path(killed.database()), log);
    const auto store = open_store(killed.database());
    CHECK(store->notices().empty());
    CHECK(to_text(load(*store)) == expected_contents(90));
  }
}

TEST_CASE("a log heals a page of the main file that a power failure tore") {
  const TempDir dir;
  ServerProcess server(dir.database());
  server.commit(30);
  server.kill();
  REQUIRE(has_log(dir));
  // The page with the table `state`, of which only the first sector was written.
  std::string content = read_file(dir.database());
  const std::size_t page = std::stoull(query(dir.database(),
                                             "SELECT rootpage FROM sqlite_schema WHERE name = "
                                             "'state'")) -
                           1;
  content.replace(page * 4096 + 512, 4096 - 512, std::string(4096 - 512, '\xa5'));
  write_file(dir.database(), content);
  const auto store = open_store(dir.database());
  CHECK(store->notices().empty());
  CHECK(to_text(load(*store)) == expected_contents(30));
}

TEST_CASE(
    "a backup that is copied over a running server's file is noticed, and is what starts next") {
  const auto make_backup = GENERATE(snapshot, sqlite_backup, copy_over);
  // Whether the log's content is in the main file when the copy comes.
  const bool is_moved = GENERATE(false, true);
  const bool is_tried = GENERATE(false, true);
  const TempDir dir;
  const std::string backup = dir.file("backup.db");
  {
    const auto store = open_store(dir.database());
    for (Revision r = 1; r <= 3; ++r) commit(*store, change_to(r));
    store->checkpoint();
    make_backup(dir.database(), backup);
    for (Revision r = 4; r <= 40; ++r) commit(*store, change_to(r));
    if (is_moved) store->checkpoint();
    copy_over(backup, dir.database());
    if (is_tried) {
      const auto refused = store->commit(change_to(41), by("test"));
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error().trouble == Trouble::kReplaced);
      store->checkpoint();
    }
    CHECK_FALSE(store->is_undisturbed());
    CHECK(read_file(dir.database()) == read_file(backup));
  }
  CHECK(read_file(dir.database()) == read_file(backup));
  check_start(dir, 3);
}

TEST_CASE("a log that was removed, replaced or written to under the server is noticed") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  store->checkpoint();
  const std::string log = wal_path(dir.database());
  SECTION("removed") { std::filesystem::remove(log); }
  SECTION("replaced") {
    std::filesystem::rename(log, dir.file("log"));
    std::filesystem::copy_file(dir.file("log"), log);
  }
  SECTION("emptied") { std::filesystem::resize_file(log, 0); }
  const auto refused = store->commit(change_to(2), by("test"));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().trouble == Trouble::kReplaced);
}

TEST_CASE("what another program does to the files without changing their content is no change") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  SECTION("another mode") {
    std::filesystem::permissions(dir.database(), std::filesystem::perms::owner_all);
  }
  SECTION("the log is moved") { execute(dir.database(), "PRAGMA wal_checkpoint"); }
  CHECK(store->is_undisturbed());
  commit(*store, change_to(2));
  CHECK(to_text(load(*store)) == expected_contents(2));
}

TEST_CASE("a database whose rows are out of order is damaged, although quick_check finds nothing") {
  const TempDir dir;
  {
    const auto store = open_store(dir.database());
    for (Revision r = 1; r <= 40; ++r) commit(*store, change_to(r));
  }
  std::string bytes = read_file(dir.database());
  const std::size_t middle = bytes.find("h24.example.com");
  REQUIRE(middle != std::string::npos);
  bytes[middle] = 'a';  // and so before all others
  write_file(dir.database(), bytes);
  REQUIRE(query(dir.database(), "PRAGMA quick_check") == "ok");
  CHECK(open_error(dir.database()).contains("damaged (row not in PRIMARY KEY order"));
}
