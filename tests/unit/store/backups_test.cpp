// SPDX-License-Identifier: Apache-2.0
#include "store/backups.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "store/limits.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::sys_seconds kNow =
    std::chrono::sys_days(std::chrono::year(2025) / 3 / 31) + 12h;

/// Backups of the last days, more than enough to be kept.
void make_recent(const TempDir& dir, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    write_file(dir.file(backup_name(kNow - 24h * static_cast<int>(i) - 1s)), "");
  }
}

/// A file that was last written at this age before kNow.
void make_file(const TempDir& dir, const std::string& name, std::chrono::seconds age) {
  write_file(dir.file(name), name);
  const timespec time{.tv_sec = std::chrono::system_clock::to_time_t(kNow - age), .tv_nsec = 0};
  const timespec times[] = {time, time};
  REQUIRE(::utimensat(AT_FDCWD, dir.file(name).c_str(), times, 0) == 0);
}

std::vector<std::string> removed_names(const Pruned& pruned) {
  std::vector<std::string> names;
  for (const std::string& path : pruned.removed) {
    names.push_back(std::filesystem::path(path).filename());
  }
  return names;
}

}  // namespace

TEST_CASE("a backup's name tells its second, and nothing else is one") {
  CHECK(backup_name(kNow) == "mc-proxy-20250331-120000.db");
  CHECK(backup_time("mc-proxy-20250331-120000.db") == kNow);
  CHECK(backup_time(backup_name(kNow + 3599s)) == kNow + 3599s);
  CHECK(backup_time("mc-proxy-20240229-235959.db").has_value());

  const std::string name = GENERATE(
      "", "mc-proxy.db", "mc-proxy-20250331-120000.db.gz", "mc-proxy-20250331-120000.db-wal",
      "mc-proxy-2025033x-120000.db", "mc-proxy-20250331T120000.db", "mc-proxy-20250229-120000.db",
      "mc-proxy-20251301-120000.db", "mc-proxy-20250331-240000.db", "mc-proxy-20250331-126000.db",
      "mc-proxy-20250331-120060.db", "MC-proxy-20250331-120000.db", "xmc-proxy-20250331-12000.db",
      ".mc-proxy-20250331-120000.db");
  INFO(name);
  CHECK_FALSE(backup_time(name).has_value());
}

TEST_CASE("backups go when their names are older than asked for, whatever the files' times") {
  const TempDir dir;
  make_recent(dir, kBackupsKept);
  make_file(dir, "mc-proxy-20250331-120000.db", 0s);   // the newest
  make_file(dir, "mc-proxy-20250301-120000.db", 24h);  // 30 days to the second
  make_file(dir, "mc-proxy-20250301-115959.db", 0s);   // a second more; copied just now
  make_file(dir, "mc-proxy-20200101-000000.db", 24h);
  make_file(dir, "mc-proxy-20250330-120000.db", 9999h);  // its file's time is wrong
  make_file(dir, "mc-proxy-20990101-000000.db", 0s);     // of a clock that was wrong

  const Pruned pruned = prune_backups(dir.file("mc-proxy-20250331-120000.db"), 720h, kNow);
  CHECK(pruned.failures.empty());
  CHECK(removed_names(pruned) ==
        std::vector<std::string>{"mc-proxy-20200101-000000.db", "mc-proxy-20250301-115959.db"});
  CHECK(dir.names().size() == 4 + kBackupsKept);
}

TEST_CASE("the newest backups stay when the clock has gone ahead of all of them") {
  const TempDir dir;
  make_recent(dir, 20);
  const auto wrong = kNow + 24h * 400;
  make_file(dir, backup_name(wrong), 0s);
  const Pruned pruned = prune_backups(dir.file(backup_name(wrong)), 720h, wrong);
  CHECK(pruned.removed.size() == 21 - kBackupsKept);
  std::vector<std::string> kept = dir.names();
  REQUIRE(kept.size() == kBackupsKept);
  CHECK(kept.front() == backup_name(kNow - 24h * 5 - 1s));
  CHECK(kept.back() == backup_name(wrong));
}

TEST_CASE("the new backup stays, even where the clock says that it is old") {
  const TempDir dir;
  make_recent(dir, kBackupsKept);
  make_file(dir, "mc-proxy-20240101-000000.db", 0s);
  make_file(dir, "mc-proxy-20240101-000001.db", 0s);
  const Pruned pruned = prune_backups(dir.file("mc-proxy-20240101-000000.db"), 720h, kNow);
  CHECK(removed_names(pruned) == std::vector<std::string>{"mc-proxy-20240101-000001.db"});
}

TEST_CASE("what a killed snapshot has left goes after a day") {
  const TempDir dir;
  make_file(dir, "mc-proxy-20250331-120000.db", 0s);
  make_file(dir, ".mc-proxy-20250330-110000.db.aZ09xy", 25h);
  make_file(dir, ".mc-proxy-20250330-110000.db.aZ09xy-journal", 25h);
  make_file(dir, ".mc-proxy-20200101-000000.db.aZ09xy", 23h);  // still being written
  make_file(dir, ".mc-proxy-20250330-110000.db.aZ09x", 25h);
  make_file(dir, ".mc-proxy-20250330-110000.db.aZ0.xy", 25h);
  make_file(dir, ".other.db.aZ09xy", 25h);

  const Pruned pruned = prune_backups(dir.file("mc-proxy-20250331-120000.db"), 720h, kNow);
  CHECK(removed_names(pruned) ==
        std::vector<std::string>{".mc-proxy-20250330-110000.db.aZ09xy",
                                 ".mc-proxy-20250330-110000.db.aZ09xy-journal"});
}

TEST_CASE("nothing else in the folder of backups is touched") {
  const TempDir dir;
  make_file(dir, "mc-proxy-20250331-120000.db", 0s);
  for (const char* const name :
       {"mc-proxy.db", "mc-proxy-20200101-000000.db.gz", "before-the-move.db", "notes"}) {
    make_file(dir, name, 99999h);
  }
  std::filesystem::create_directory(dir.file("mc-proxy-20200101-000000.db"));
  std::filesystem::create_symlink(dir.file("notes"), dir.file("mc-proxy-20200101-000001.db"));
  const auto before = dir.names();
  const Pruned pruned = prune_backups(dir.file("mc-proxy-20250331-120000.db"), 720h, kNow);
  CHECK(pruned.removed.empty());
  CHECK(pruned.failures.empty());
  CHECK(dir.names() == before);
}

TEST_CASE("a backup that cannot be removed is told, and the others go") {
  const TempDir dir;
  std::filesystem::create_directory(dir.file("backups"));
  for (int i = 0; i < 7; ++i) {
    make_file(dir, fmt::format("backups/mc-proxy-2025033{}-110000.db", i % 2), 0s);
    make_file(dir, fmt::format("backups/mc-proxy-2025032{}-110000.db", i), 0s);
  }
  make_file(dir, "backups/mc-proxy-20250331-120000.db", 0s);
  make_file(dir, "backups/mc-proxy-20200101-000000.db", 0s);
  REQUIRE(::chmod(dir.file("backups").c_str(), 0555) == 0);
  const std::string answer = answer_of_child([&]() -> std::string {
    give_up_root();
    const Pruned pruned =
        prune_backups(dir.file("backups/mc-proxy-20250331-120000.db"), 720h, kNow);
    return pruned.failures.size() == 1 ? pruned.failures[0].message : "no failure";
  });
  CHECK(answer.contains("mc-proxy-20200101-000000.db\" cannot be removed: Permission denied"));
  REQUIRE(::chmod(dir.file("backups").c_str(), 0755) == 0);

  const Pruned none = prune_backups(dir.file("gone/mc-proxy-20250331-120000.db"), 720h, kNow);
  REQUIRE(none.failures.size() == 1);
  CHECK(none.failures[0].message.contains("cannot be read"));
}
