// SPDX-License-Identifier: Apache-2.0
// kill -9 at random moments: every acknowledged commit is there, at most one more, and the file is
// sound. The moments differ from run to run; a failing test prints the seed.

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <random>
#include <string>

#include "store/store.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;

namespace {

/// Commits for ever, and reports each revision when it is acknowledged.
void serve(const std::string& path, int to_parent) {
  const auto store = Store::open(path);
  if (!store) ::_exit(1);
  while (const auto revision =
             (*store)->commit(change_to((*store)->revision() + 1), by("server"))) {
    send(to_parent, *revision);
    if (*revision % 3 == 0) (*store)->checkpoint();
  }
}

/// Lets the server commit `count` times and then some microseconds more, kills it, and returns the
/// last revision that it acknowledged.
Revision kill_after(Child& server, Revision last, int count, std::chrono::microseconds more) {
  for (int i = 0; i < count; ++i) {
    const auto revision = receive(server.from_child());
    REQUIRE(revision.has_value());
    last = *revision;
  }
  const timespec rest{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(more).count()};
  ::nanosleep(&rest, nullptr);
  server.kill();
  while (const auto revision = receive(server.from_child())) last = *revision;
  return last;
}

}  // namespace

TEST_CASE("a server that is killed at any moment has what it acknowledged, and at most one more") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const TempDir dir;
  Revision last = 0;
  for (int round = 0; round < 40; ++round) {
    INFO("round " << round);
    {
      Child server([&](int, int to_parent) { serve(dir.database(), to_parent); });
      const int count = static_cast<int>(random() % 12);
      last = kill_after(server, last, count, std::chrono::microseconds(random() % 4000));
    }
    const auto store = open_store(dir.database());
    CHECK(store->notices().empty());
    REQUIRE(store->revision() >= last);
    REQUIRE(store->revision() <= last + 1);
    last = store->revision();
    REQUIRE(to_text(load(*store)) == expected_contents(last));
    REQUIRE(query(dir.database(), "PRAGMA integrity_check") == "ok");
  }
}

TEST_CASE("a restore after a kill at any moment is the backup") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const TempDir dir;
  const std::string backup = dir.file("backup.db");
  commit(*open_store(dir.database()), change_to(1));
  for (int round = 0; round < 15; ++round) {
    INFO("round " << round);
    Child server([&](int, int to_parent) { serve(dir.database(), to_parent); });
    REQUIRE(receive(server.from_child()).has_value());
    REQUIRE(Store::snapshot_file(dir.database(), backup).has_value());
    kill_after(server, 0, static_cast<int>(random() % 8),
               std::chrono::microseconds(random() % 4000));
    copy_over(backup, dir.database());
    // A second kill, before the restored database has seen a commit: the restore is repeated.
    if (round % 3 == 0) {
      Child again([&](int, int to_parent) { serve(dir.database(), to_parent); });
      kill_after(again, 0, 0, std::chrono::microseconds(random() % 8000));
      copy_over(backup, dir.database());
    }
    const auto revision = std::stoull(query(backup, "SELECT revision FROM state"));
    const auto store = open_store(dir.database());
    REQUIRE(store->revision() == revision);
    REQUIRE(to_text(load(*store)) == expected_contents(revision));
    REQUIRE(query(dir.database(), "PRAGMA integrity_check") == "ok");
  }
}
