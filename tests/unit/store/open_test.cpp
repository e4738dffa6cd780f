// SPDX-License-Identifier: Apache-2.0
// What can be wrong with a database file when a server starts: each error has its own message with
// a remedy, and the file stays as it was.

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "store/file_header.hpp"
#include "store/files.hpp"
#include "store/schema.hpp"
#include "store/sqlite.hpp"
#include "store/store.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;

namespace {

/// A database with `revisions` commits, closed.
void make_database(const std::string& path, Revision revisions) {
  const auto store = open_store(path);
  for (Revision r = 1; r <= revisions; ++r) commit(*store, change_to(r));
}

/// What is in the file; nothing where there is none.
std::optional<std::string> content_of(const std::string& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  return read_file(path);
}

/// That opening fails with a message that has all of `parts`, names the path, and touches nothing.
void check_refused(const std::string& path, std::initializer_list<std::string_view> parts) {
  const auto before = content_of(path);
  const std::string error = open_error(path);
  INFO(error);
  CHECK(error.starts_with("database \""));
  CHECK(error.contains(path));
  for (const std::string_view part : parts) {
    INFO(part);
    CHECK(error.contains(part));
  }
  CHECK((content_of(path) == before));
}

void overwrite(const std::string& path, std::size_t offset, std::string_view bytes) {
  std::string content = read_file(path);
  content.replace(offset, bytes.size(), bytes);
  write_file(path, content);
}

}  // namespace

TEST_CASE("a database needs a path") { CHECK(open_error("") == "database.path is required"); }

TEST_CASE("a missing directory is named, with the command that makes it") {
  const TempDir dir;
  const std::string path = dir.file("missing/mc-proxy.db");
  check_refused(path, {"there is no directory", "install -d -o mc-proxy -g mc-proxy"});
}

TEST_CASE("a path to something that is not a file is refused") {
  const TempDir dir;
  SECTION("a directory") { std::filesystem::create_directory(dir.database()); }
  SECTION("a FIFO") { REQUIRE(::mkfifo(dir.database().c_str(), 0600) == 0); }
  const std::string error = open_error(dir.database());
  CHECK(error.contains("this is not a file; correct the path"));
}

TEST_CASE("a symbolic link is followed, also for the companions of the database") {
  const TempDir dir;
  std::filesystem::create_directory(dir.file("data"));
  make_database(dir.file("data/real.db"), 1);
  std::filesystem::create_symlink(dir.file("data/real.db"), dir.database());
  const auto store = open_store(dir.database());
  CHECK(to_text(load(*store)) == expected_contents(1));
  CHECK(open_error(dir.file("data/real.db")).contains("in use by another mc-proxy server"));
  CHECK(dir.names() == std::vector<std::string>{"data", "mc-proxy.db"});
}

TEST_CASE("a symbolic link that leads nowhere is refused") {
  const TempDir dir;
  std::filesystem::create_symlink(dir.file("gone.db"), dir.database());
  CHECK(open_error(dir.database()).contains("a symbolic link that leads nowhere"));
}

TEST_CASE("names that mean something to SQLite are names like others") {
  const TempDir dir;
  for (const char* name : {"file:x?mode=memory", "a%20b#c.db", ":memory:"}) {
    INFO(name);
    make_database(dir.file(name), 2);
    CHECK(to_text(load(*open_store(dir.file(name)))) == expected_contents(2));
  }
}

TEST_CASE("a file that is no database is refused as damaged, with the way out") {
  const TempDir dir;
  SECTION("text") { write_file(dir.database(), "[[listeners]]\naddr = \":443\"\n"); }
  SECTION("shorter than a header") { write_file(dir.database(), "SQLite"); }
  SECTION("empty, as a copy leaves it that found no room") { write_file(dir.database(), ""); }
  check_refused(dir.database(), {"damaged", "PRAGMA integrity_check", "restore the latest backup",
                                 "start over from the configuration"});
}

TEST_CASE("a damaged database is refused, with the way out") {
  const TempDir dir;
  make_database(dir.database(), 60);
  SECTION("pages that are overwritten") {
    overwrite(dir.database(), 3 * 4096, std::string(4096, '\xa5'));
  }
  SECTION("the page of the schema") { overwrite(dir.database(), 100, std::string(3000, '\xff')); }
  SECTION("a truncated file") {
    std::filesystem::resize_file(dir.database(), file_bytes(dir.database()) / 2);
  }
  SECTION("nothing but the header") { std::filesystem::resize_file(dir.database(), 100); }
  check_refused(dir.database(), {"damaged", "nothing was changed", "PRAGMA integrity_check",
                                 "restore the latest backup"});
}

TEST_CASE("a damaged database keeps its log too") {
  const TempDir dir;
  ChangeSet many;
  for (int i = 0; i < 2'000; ++i) {
    many.put_routes.push_back({":80", {fmt::format("h{}.example.com", i), "127.0.0.1:1"}});
  }
  commit(*open_store(dir.database()), many);
  ServerProcess server(dir.database());
  server.commit(1);
  server.kill();
  // A page that the log does not have: it would heal others.
  overwrite(dir.database(), file_bytes(dir.database()) / 2 / 4096 * 4096,
            std::string(4096, '\xa5'));
  const std::string log = read_file(wal_path(dir.database()));
  REQUIRE_FALSE(log.empty());
  check_refused(dir.database(), {"damaged"});
  CHECK((read_file(wal_path(dir.database())) == log));
}

TEST_CASE("another application's database is refused") {
  const TempDir dir;
  make_database(dir.database(), 1);
  SECTION("one without an id") { execute(dir.database(), "PRAGMA application_id = 0"); }
  SECTION("one with another id") { execute(dir.database(), "PRAGMA application_id = 1196444487"); }
  check_refused(dir.database(),
                {"an SQLite database of another application", "move the file away"});
}

TEST_CASE("a newer mc-proxy's database is refused") {
  const TempDir dir;
  make_database(dir.database(), 1);
  execute(dir.database(), fmt::format("PRAGMA user_version = {}", migrations().size() + 1));
  check_refused(dir.database(), {"made by a newer mc-proxy", "install that version again"});
}

TEST_CASE("a newer mc-proxy's database is recognised even if only its log says so") {
  const TempDir dir;
  {
    const auto store = open_store(dir.database());
    const PinnedReader reader(dir.database());
    execute(dir.database(), fmt::format("PRAGMA user_version = {}", migrations().size() + 1));
    std::filesystem::create_directory(dir.file("killed"));
    for (const char* name : {"mc-proxy.db", "mc-proxy.db-wal"}) {
      copy_over(dir.file(name), dir.file("killed/" + std::string(name)));
    }
  }
  const std::string path = dir.file("killed/mc-proxy.db");
  REQUIRE(read_header(path).value()->user_version == migrations().size());
  check_refused(path, {"made by a newer mc-proxy"});
}

TEST_CASE("a database that another program has locked is refused until it lets go") {
  const TempDir dir;
  make_database(dir.database(), 1);
  {
    auto shell = Connection::open(dir.database(), Access::kReadWrite);
    REQUIRE(shell->execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM routes;")
                .has_value());
    check_refused(dir.database(), {"locked by another program", "try again"});
  }
  CHECK(open_error(dir.database()) == "");
}

TEST_CASE("a file that is not ours to read or write is refused, with the command that helps") {
  const TempDir dir;
  make_database(dir.database(), 1);
  REQUIRE(::chmod(lock_path(dir.database()).c_str(), 0666) == 0);
  REQUIRE(::chmod(dir.path().c_str(), 0777) == 0);
  SECTION("neither readable nor writable") { REQUIRE(::chmod(dir.database().c_str(), 0) == 0); }
  SECTION("readable only") { REQUIRE(::chmod(dir.database().c_str(), 0444) == 0); }
  const std::string error = answer_of_child([&] {
    give_up_root();
    return open_error(dir.database());
  });
  INFO(error);
  CHECK(error.contains("permission denied"));
  CHECK(error.contains("chown mc-proxy:mc-proxy " + dir.database()));
  CHECK(error.contains("chmod 0600 " + dir.database()));
}

TEST_CASE("a directory in which no files can be made is refused, with the command that helps") {
  const TempDir dir;
  make_database(dir.database(), 1);
  REQUIRE(::chmod(dir.database().c_str(), 0666) == 0);
  REQUIRE(::chmod(lock_path(dir.database()).c_str(), 0666) == 0);
  REQUIRE(::chmod(dir.path().c_str(), 0555) == 0);
  const std::string error = answer_of_child([&] {
    give_up_root();
    return open_error(dir.database());
  });
  REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
  INFO(error);
  CHECK(error.contains("permission denied in its directory"));
  CHECK(error.contains("chown mc-proxy:mc-proxy " + dir.path()));
}

TEST_CASE("a lock file of another user is refused, with the command that helps") {
  const TempDir dir;
  make_database(dir.database(), 1);
  REQUIRE(::chmod(dir.path().c_str(), 0777) == 0);
  REQUIRE(::chmod(lock_path(dir.database()).c_str(), 0) == 0);
  const std::string error = answer_of_child([&] {
    give_up_root();
    return open_error(dir.database());
  });
  INFO(error);
  CHECK(error.contains("permission denied"));
  CHECK(error.contains("chown mc-proxy:mc-proxy " + lock_path(dir.database())));
}

TEST_CASE("a lock file that root makes goes to the owner of the database") {
  if (::geteuid() != 0) return;
  const TempDir dir;
  make_database(dir.database(), 1);
  std::filesystem::remove(lock_path(dir.database()));
  REQUIRE(::chown(dir.database().c_str(), 65534, 65534) == 0);
  const auto store = open_store(dir.database());
  for (const std::string& name : dir.names()) {
    struct stat status{};
    REQUIRE(::stat(dir.file(name).c_str(), &status) == 0);
    INFO(name);
    CHECK(status.st_uid == 65534);
  }
}

TEST_CASE("a new database that root makes goes to the owner of the directory, like all beside it") {
  if (::geteuid() != 0) return;
  const TempDir dir;
  REQUIRE(::chown(dir.path().c_str(), 65534, 65533) == 0);
  const auto store = open_store(dir.database());
  const std::vector<std::string> names = dir.names();
  CHECK(names.size() == 4);  // the database, -shm, -wal, .lock
  for (const std::string& name : names) {
    struct stat status{};
    REQUIRE(::stat(dir.file(name).c_str(), &status) == 0);
    INFO(name);
    CHECK(status.st_uid == 65534);
    CHECK(status.st_gid == 65533);
  }
}

TEST_CASE("a read-only or full file system is refused") {
  const TempDir dir;
  const auto on_disk_of = [&](const char* size, auto work) {
    const std::string answer = answer_of_child([&]() -> std::string {
      if (!mount_small_disk(dir.path(), size)) return "no mounts here";
      return work();
    });
    if (answer == "no mounts here") WARN("this machine allows no mounts: not tried");
    return answer == "no mounts here" ? std::optional<std::string>() : answer;
  };
  SECTION("read-only") {
    const auto error = on_disk_of("1m", [&] {
      make_database(dir.database(), 1);
      return make_read_only(dir.path()) ? open_error(dir.database()) : "cannot remount";
    });
    if (error) CHECK(error->contains("its file system is read-only"));
  }
  SECTION("full, with a database") {
    const auto error = on_disk_of("1m", [&]() -> std::string {
      make_database(dir.database(), 30);
      const std::string before = read_file(dir.database());
      fill_disk(dir.file("filler"));
      const std::string refusal = open_error(dir.database());
      if (read_file(dir.database()) != before) return "the file was changed";
      std::filesystem::remove(dir.file("filler"));
      const auto store = Store::open(dir.database());
      if (!store || to_text((*store)->load().value()) != expected_contents(30)) return "lost";
      return refusal;
    });
    INFO(error.value_or(""));
    if (error) CHECK(error->contains("no room left to write"));
  }
  SECTION("full, without one") {
    const auto error = on_disk_of("1m", [&]() -> std::string {
      fill_disk(dir.file("filler"));
      const std::string refusal = open_error(dir.database());
      if (std::filesystem::exists(dir.database())) return "half a database is there";
      std::filesystem::remove(dir.file("filler"));
      return open_error(dir.database()) == "" ? refusal : "no database with room";
    });
    INFO(error.value_or(""));
    if (error) CHECK(error->contains("no room left to write"));
  }
}

TEST_CASE("a second server is refused as long as the first lives, and told which it is") {
  const TempDir dir;
  ServerProcess first(dir.database());
  first.commit(1);
  const std::string error = open_error(dir.database());
  CHECK(error.contains(fmt::format("in use by another mc-proxy server (pid {})", first.pid())));
  CHECK(first.commit(1) == 2);
  first.kill();
  const auto second = open_store(dir.database());
  CHECK(second->revision() == 2);
  CHECK(open_error(dir.database()).contains(fmt::format("(pid {})", ::getpid())));
}

TEST_CASE("a server that could not open its database leaves no lock") {
  const TempDir dir;
  write_file(dir.database(), "not a database");
  CHECK(open_error(dir.database()).contains("damaged"));
  std::filesystem::remove(dir.database());
  CHECK(open_error(dir.database()) == "");
}
