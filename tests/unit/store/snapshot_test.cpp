// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "store/file_header.hpp"
#include "store/files.hpp"
#include "store/store.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;

namespace {

std::string error_of(const mc::Result<void>& result) {
  return result ? "" : result.error().message;
}

/// The contents for a server that starts on the file.
std::string contents_of(const std::string& path) { return to_text(load(*open_store(path))); }

}  // namespace

TEST_CASE("a snapshot is one sound file with the content of its moment") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  for (Revision r = 1; r <= 30; ++r) commit(*store, change_to(r));
  const std::string copy = dir.file("copy.db");
  const mode_t before = ::umask(0);
  CHECK(error_of(store->snapshot(copy)) == "");
  ::umask(before);
  commit(*store, change_to(31));

  CHECK(mode_of(copy) == 0600);
  CHECK_FALSE(read_header(copy).value()->uses_wal);
  CHECK(query(copy, "PRAGMA integrity_check") == "ok");
  CHECK(dir.names() == std::vector<std::string>{"copy.db", "mc-proxy.db", "mc-proxy.db-shm",
                                                "mc-proxy.db-wal", "mc-proxy.db.lock"});
  CHECK(contents_of(copy) == expected_contents(30));
}

TEST_CASE("a snapshot needs no server, and does not mind one") {
  const TempDir dir;
  const std::string copy = dir.file("copy.db");
  ServerProcess server(dir.database());
  server.commit(3);
  CHECK(error_of(Store::snapshot_file(dir.database(), copy)) == "");
  CHECK(contents_of(copy) == expected_contents(3));
  server.commit(2);
  SECTION("one that runs") {}
  SECTION("one that was killed") { server.kill(); }
  SECTION("one that ended in order") {
    server.kill();
    open_store(dir.database());
  }
  CHECK(error_of(Store::snapshot_file(dir.database(), copy)) == "");
  CHECK(contents_of(copy) == expected_contents(5));
}

TEST_CASE("a snapshot of a restored database that has not been started yet is what was restored") {
  const TempDir dir;
  const std::string backup = dir.file("backup.db");
  ServerProcess server(dir.database());
  server.commit(3);
  REQUIRE(error_of(Store::snapshot_file(dir.database(), backup)) == "");
  const PinnedReader reader(dir.database());
  server.commit(5);
  server.kill();
  copy_over(backup, dir.database());
  const std::string log = read_file(wal_path(dir.database()));
  CHECK(error_of(Store::snapshot_file(dir.database(), dir.file("copy.db"))) == "");
  CHECK((read_file(wal_path(dir.database())) == log));
  CHECK(contents_of(dir.file("copy.db")) == expected_contents(3));
}

TEST_CASE("snapshots that are taken while the server commits are each a state that it was in") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  std::atomic<bool> is_done = false;
  std::vector<std::string> errors;
  std::thread taker([&] {
    for (int i = 0; i < 10; ++i) {
      const auto taken = store->snapshot(dir.file("copy-" + std::to_string(i) + ".db"));
      if (!taken) errors.push_back(taken.error().message);
    }
    is_done = true;
  });
  Revision last = 1;
  while (!is_done) {
    if (store->commit(change_to(last + 1), by("test"))) ++last;
  }
  taker.join();
  CHECK(errors == std::vector<std::string>{});
  CHECK(to_text(load(*store)) == expected_contents(last));

  Revision previous = 1;
  for (int i = 0; i < 10; ++i) {
    const auto copy = open_store(dir.file("copy-" + std::to_string(i) + ".db"));
    CHECK(copy->revision() >= previous);
    previous = copy->revision();
    CHECK(to_text(load(*copy)) == expected_contents(previous));
  }
  CHECK(last > 1);
}

TEST_CASE("a snapshot replaces an older one, and nothing else") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  const std::string copy = dir.file("copy.db");
  write_file(copy, "an older one");
  CHECK(error_of(store->snapshot(copy)) == "");
  CHECK(contents_of(copy) == expected_contents(1));

  std::filesystem::create_directory(dir.file("directory"));
  REQUIRE(::mkfifo(dir.file("fifo").c_str(), 0600) == 0);
  CHECK(error_of(store->snapshot(dir.file("directory")))
            .contains("it exists and is not a regular file"));
  CHECK(
      error_of(store->snapshot(dir.file("fifo"))).contains("it exists and is not a regular file"));
  CHECK(error_of(store->snapshot(dir.file("no/copy.db"))).contains("there is no directory"));
}

TEST_CASE("a snapshot does not replace the database that it is of") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  std::filesystem::create_symlink(dir.database(), dir.file("link.db"));
  std::filesystem::create_hard_link(dir.database(), dir.file("hard.db"));
  for (const std::string& path :
       {dir.database(), dir.path() + "/./mc-proxy.db", dir.file("link.db"), dir.file("hard.db"),
        wal_path(dir.database()), shm_path(dir.database()), lock_path(dir.database())}) {
    INFO(path);
    CHECK(error_of(store->snapshot(path)).contains("would replace it"));
  }
  commit(*store, change_to(2));
  CHECK(to_text(load(*store)) == expected_contents(2));
}

TEST_CASE("a snapshot that fails leaves the older one, and no litter") {
  const TempDir dir;
  const std::string copy = dir.file("backups/copy.db");
  std::filesystem::create_directory(dir.file("backups"));
  open_store(dir.database());
  ServerProcess server(dir.database());
  server.commit(60);
  server.kill();
  write_file(copy, "an older one");
  SECTION("no room in the destination's directory") {
    const std::string answer = answer_of_child([&]() -> std::string {
      if (!mount_small_disk(dir.file("backups"), "16k")) return "no mounts here";
      write_file(copy, "an older one");
      const std::string error = error_of(Store::snapshot_file(dir.database(), copy));
      if (read_file(copy) != "an older one") return "the older one is gone";
      const auto begin = std::filesystem::directory_iterator(dir.file("backups"));
      return std::distance(begin, {}) == 1 ? error : "litter";
    });
    if (answer == "no mounts here") {
      WARN("this machine allows no mounts: not tried");
    } else {
      CHECK(answer.contains("no room left to write"));
      CHECK(answer.contains(copy));
    }
  }
  SECTION("no right to write there") {
    REQUIRE(::chmod(dir.file("backups").c_str(), 0555) == 0);
    const std::string error = answer_of_child([&] {
      if (::geteuid() == 0) {  // a reader of the database may write in its directory
        if (::chown(dir.path().c_str(), 65534, 65534) != 0) ::_exit(1);
        for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
          if (::chown(entry.path().c_str(), 65534, 65534) != 0) ::_exit(1);
        }
      }
      give_up_root();
      return error_of(Store::snapshot_file(dir.database(), copy));
    });
    CHECK(error.contains("permission denied in its directory"));
    REQUIRE(::chmod(dir.file("backups").c_str(), 0755) == 0);
  }
  SECTION("a damaged database") {
    open_store(dir.database());
    std::string content = read_file(dir.database());
    content.replace(3 * 4096, 4096, std::string(4096, '\xa5'));
    write_file(dir.database(), content);
    const std::string error = error_of(Store::snapshot_file(dir.database(), copy));
    CHECK(error.contains("damaged"));
    CHECK(error.contains(dir.database()));
  }
  CHECK(read_file(copy) == "an older one");
  CHECK(std::distance(std::filesystem::directory_iterator(dir.file("backups")), {}) == 1);
}

TEST_CASE("a snapshot is of a database of ours") {
  const TempDir dir;
  const std::string copy = dir.file("copy.db");
  CHECK(error_of(Store::snapshot_file("", copy)) == "database.path is required");
  CHECK(error_of(Store::snapshot_file(dir.database(), copy)).contains("there is no such file"));
  write_file(dir.database(), "text");
  CHECK(error_of(Store::snapshot_file(dir.database(), copy)).contains("damaged"));
  CHECK_FALSE(std::filesystem::exists(copy));
}
