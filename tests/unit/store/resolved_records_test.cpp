// SPDX-License-Identifier: Apache-2.0
#include "store/resolved_records.hpp"

#include <chrono>
#include <string>
#include <vector>

#include "store/store.hpp"
#include "support/catch.hpp"
#include "unit/store/store_fixture.hpp"

using namespace mc::store;
using namespace mc::store::test;
using Answers = std::vector<ResolvedRecord>;

namespace {

ResolvedRecord answer(std::string name, std::string addresses = "10.0.0.1 2001:db8::1") {
  return {.name = std::move(name),
          .addresses = std::move(addresses),
          .time = std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(7))};
}

void put(Store& store, const ResolvedChanges& changes) {
  const auto done = store.put_resolved(changes);
  INFO((done.has_value() ? "" : done.error().message));
  REQUIRE(done.has_value());
}

}  // namespace

TEST_CASE("answers come back as they were put, ordered by name, and make no revision") {
  const TempDir dir;
  auto store = open_store(dir.database());
  commit(*store, change_to(1));
  put(*store, {.removed = {}, .put = {answer("b"), answer("a")}});
  put(*store, {.removed = {"b", "missing"}, .put = {answer("c"), answer("a", "10.0.0.2")}});
  const Answers expected = {answer("a", "10.0.0.2"), answer("c")};
  CHECK(load(*store).resolved == expected);
  CHECK(store->revision() == 1);
  CHECK(query(dir.database(), "SELECT count(*) FROM audit") == "1");
  store.reset();
  store = open_store(dir.database());
  CHECK(load(*store).resolved == expected);
  CHECK(Store::inspect(dir.database())->resolved == expected);
}

TEST_CASE("commits and answers in any order are all there after a kill") {
  const TempDir dir;
  Child server([&](int, int to_parent) {
    const auto store = Store::open(dir.database());
    if (!store) ::_exit(1);
    for (Revision r = 1; r <= 5; ++r) {
      static_cast<void>((*store)->commit(change_to(r), by("server")));
      static_cast<void>(
          (*store)->put_resolved({.removed = {}, .put = {answer("n" + std::to_string(r))}}));
      if (r == 3) (*store)->checkpoint();
    }
    send(to_parent, (*store)->revision());
    ::pause();
  });
  REQUIRE(receive(server.from_child()) == 5);
  server.kill();
  const auto store = open_store(dir.database());
  CHECK(store->notices().empty());
  CHECK(load(*store).revision == 5);
  CHECK(load(*store).resolved.size() == 5);
}

TEST_CASE("a log from after answers is not applied to a copy from before them") {
  const TempDir dir;
  const std::string copy = dir.file("copy.db");
  Child server([&](int from_parent, int to_parent) {
    const auto store = Store::open(dir.database());
    if (!store) ::_exit(1);
    static_cast<void>((*store)->commit(change_to(1), by("server")));
    (*store)->checkpoint();
    send(to_parent, 1);
    receive(from_parent);  // the file was copied
    static_cast<void>((*store)->put_resolved({.removed = {}, .put = {answer("a")}}));
    (*store)->checkpoint();
    static_cast<void>((*store)->commit(change_to(2), by("server")));
    send(to_parent, 2);
    ::pause();
  });
  REQUIRE(receive(server.from_child()) == 1);
  copy_over(dir.database(), copy);
  send(server.to_child(), 1);
  REQUIRE(receive(server.from_child()) == 2);
  server.kill();
  copy_over(copy, dir.database());
  const auto store = open_store(dir.database());
  CHECK(store->notices().size() == 1);
  CHECK(load(*store).revision == 1);
  CHECK(load(*store).resolved.empty());
}

TEST_CASE("while a reader keeps commits in the log, answers wait") {
  const TempDir dir;
  const auto store = open_store(dir.database());
  commit(*store, change_to(1));
  {
    const PinnedReader reader(dir.database());
    commit(*store, change_to(2));
    const auto refused = store->put_resolved({.removed = {}, .put = {answer("a")}});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().message.contains("another program reads it"));
    commit(*store, change_to(3));
  }
  put(*store, {.removed = {}, .put = {answer("a")}});
  CHECK(load(*store).resolved == Answers{answer("a")});
}

TEST_CASE("a database of an older version that is only inspected has no answers") {
  const TempDir dir;
  open_store(dir.database());
  execute(dir.database(), "DROP TABLE resolved_names; PRAGMA user_version = 2");
  const auto contents = Store::inspect(dir.database());
  CHECK(contents.has_value());
}
