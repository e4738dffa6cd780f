// SPDX-License-Identifier: Apache-2.0
#include "traffic/event_hub.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "traffic/limits.hpp"

namespace mc::traffic {
namespace {

const std::vector<EventKind> kAll = {EventKind::kOpened, EventKind::kClosed, EventKind::kRefused,
                                     EventKind::kDialFailed};

void emit(EventSource& source, EventKind kind, std::uint64_t number) {
  if (source.wants(kind)) source.emit({.kind = kind, .connection = {.id = {0, number}}});
}

std::uint64_t lost_in_all(const EventHub::Subscription::Seen& seen) {
  return std::accumulate(seen.lost.begin(), seen.lost.end(), std::uint64_t{0});
}

std::vector<std::uint64_t> numbers(const EventHub::Subscription::Seen& seen) {
  std::vector<std::uint64_t> all;
  for (const auto& event : seen.events) all.push_back(event->connection.id.number);
  return all;
}

}  // namespace

TEST_CASE("nothing but dial failures is wanted of a hub that nobody watches") {
  EventHub hub;
  for (const EventKind kind : kAll) CHECK(hub.wants(kind) == (kind == EventKind::kDialFailed));
  std::optional<EventHub::Subscription> one(std::in_place, hub, std::vector{EventKind::kRefused});
  std::optional<EventHub::Subscription> two(std::in_place, hub, kAll);
  CHECK(hub.wants(EventKind::kRefused));
  CHECK(hub.wants(EventKind::kOpened));
  two.reset();
  CHECK(hub.wants(EventKind::kRefused));
  CHECK_FALSE(hub.wants(EventKind::kOpened));
  one.reset();
  CHECK_FALSE(hub.wants(EventKind::kRefused));
}

TEST_CASE("each watcher gets what happens from its beginning on, of its kinds, in order") {
  EventHub hub;
  EventSource source(hub);
  EventHub::Subscription all(hub, kAll);
  emit(source, EventKind::kOpened, 1);
  emit(source, EventKind::kClosed, 2);
  REQUIRE(source.flush());
  EventHub::Subscription closed(hub, {EventKind::kClosed});
  emit(source, EventKind::kOpened, 3);
  emit(source, EventKind::kDialFailed, 4);
  emit(source, EventKind::kClosed, 5);
  CHECK(numbers(all.read(100)) == std::vector<std::uint64_t>{1, 2});  // the rest is not flushed
  REQUIRE(source.flush());
  CHECK(numbers(all.read(2)) == std::vector<std::uint64_t>{3, 4});
  CHECK(numbers(all.read(2)) == std::vector<std::uint64_t>{5});
  CHECK(numbers(all.read(2)).empty());
  const auto seen = closed.read(100);
  CHECK(numbers(seen) == std::vector<std::uint64_t>{5});
  CHECK(seen.events.front()->kind == EventKind::kClosed);
  CHECK(lost_in_all(seen) == 0);
}

TEST_CASE("a slow watcher gets the last events of each kind, and the number of those it missed") {
  EventHub hub;
  EventSource source(hub);
  EventHub::Subscription slow(hub, kAll);
  EventHub::Subscription quick(hub, kAll);
  emit(source, EventKind::kDialFailed, 0);
  constexpr std::uint64_t kMany = kEventsKept + 1000;
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    emit(source, EventKind::kOpened, i);
    REQUIRE(source.flush());
    REQUIRE(quick.read(10).events.size() == (i == 1 ? 2 : 1));
  }
  const auto seen = slow.read(2 * kEventsKept);
  CHECK(seen.lost[static_cast<std::size_t>(EventKind::kOpened)] == 1000);
  CHECK(lost_in_all(seen) == 1000);
  REQUIRE(seen.events.size() == kEventsKept + 1);
  CHECK(seen.events[0]->kind == EventKind::kDialFailed);  // a rare one is not displaced
  CHECK(seen.events[1]->connection.id.number == 1001);
  CHECK(seen.events.back()->connection.id.number == kMany);
  CHECK(lost_in_all(slow.read(10)) == 0);  // reported once
  CHECK(lost_in_all(quick.read(10)) == 0);
}

TEST_CASE("a worker that cannot hand over keeps so many events, and counts the others") {
  EventHub hub;
  EventSource source(hub);
  EventHub::Subscription watch(hub, kAll);
  for (std::uint64_t i = 0; i < kEventsPendingMax; ++i) emit(source, EventKind::kClosed, i);
  emit(source, EventKind::kClosed, 0);
  emit(source, EventKind::kRefused, 0);
  REQUIRE(source.flush());
  const auto seen = watch.read(2 * kEventsPendingMax);
  CHECK(seen.events.size() == kEventsPendingMax);
  CHECK(seen.lost[static_cast<std::size_t>(EventKind::kClosed)] == 1);
  CHECK(seen.lost[static_cast<std::size_t>(EventKind::kRefused)] == 1);
  CHECK(lost_in_all(watch.read(10)) == 0);
  EventHub::Subscription later(hub, kAll);
  CHECK(lost_in_all(later.read(10)) == 0);
}

TEST_CASE("what was kept goes with the last watcher") {
  EventHub hub;
  EventSource source(hub);
  std::weak_ptr<const Event> event;
  {
    EventHub::Subscription watch(hub, kAll);
    emit(source, EventKind::kClosed, 1);
    REQUIRE(source.flush());
    event = watch.read(1).events.front();
    CHECK_FALSE(event.expired());
    emit(source, EventKind::kClosed, 2);
  }
  CHECK(event.expired());
  REQUIRE(source.flush());  // of kinds without a subscriber now
  EventHub::Subscription watch(hub, kAll);
  CHECK(watch.read(10).events.empty());
}

TEST_CASE("a watch can begin with dial failures of before, whether anybody watched or not") {
  EventHub hub;
  EventSource source(hub);
  emit(source, EventKind::kDialFailed, 1);
  REQUIRE(source.flush());
  const auto begin = std::chrono::system_clock::now();
  while (std::chrono::system_clock::now() == begin) {
  }
  const auto between = std::chrono::system_clock::now();
  emit(source, EventKind::kDialFailed, 2);
  emit(source, EventKind::kClosed, 3);
  REQUIRE(source.flush());
  using Time = EventHub::Subscription::Time;
  using Numbers = std::vector<std::uint64_t>;
  {
    EventHub::Subscription all(hub, kAll, Time::min());
    EventHub::Subscription some(hub, kAll, between);
    EventHub::Subscription none(hub, kAll);
    EventHub::Subscription others(hub, {EventKind::kClosed}, Time::min());
    emit(source, EventKind::kDialFailed, 4);
    REQUIRE(source.flush());
    CHECK(numbers(all.read(10)) == Numbers{1, 2, 4});
    CHECK(numbers(some.read(10)) == Numbers{2, 4});
    CHECK(numbers(none.read(10)) == Numbers{4});
    CHECK(numbers(others.read(10)).empty());
  }
  for (std::uint64_t i = 5; i < 5 + kEventsKept; ++i) {
    emit(source, EventKind::kDialFailed, i);
    REQUIRE(source.flush());
  }
  EventHub::Subscription all(hub, kAll, Time::min());
  const auto seen = all.read(2 * kEventsKept);
  REQUIRE(seen.events.size() == kEventsKept);
  CHECK(seen.events.front()->connection.id.number == 5);
  CHECK(lost_in_all(seen) == 0);  // it was not there when they came
}

TEST_CASE("of many sources at once each watcher gets all, each source's in its order, or a count") {
  EventHub hub;
  constexpr std::uint32_t kSources = 3;
  constexpr std::uint64_t kEach = 20'000;
  EventHub::Subscription first(hub, {EventKind::kClosed});
  EventHub::Subscription second(hub, kAll);
  std::atomic<std::uint32_t> done{0};
  std::vector<std::thread> threads;
  for (std::uint32_t s = 0; s < kSources; ++s) {
    threads.emplace_back([&hub, &done, s] {
      EventSource source(hub);
      for (std::uint64_t i = 1; i <= kEach; ++i) {
        source.emit({.kind = EventKind::kClosed, .connection = {.id = {s, i}}});
        if (i % 7 == 0) source.flush();
      }
      while (!source.flush()) std::this_thread::yield();
      ++done;
    });
  }
  const auto read_all = [&done](EventHub::Subscription& watch) {
    std::uint64_t count = 0;
    bool in_order = true;
    std::vector<std::uint64_t> last(kSources, 0);
    for (bool over = false; !over;) {
      over = done == kSources;
      for (auto seen = watch.read(100); !seen.events.empty(); seen = watch.read(100)) {
        count += seen.events.size() + lost_in_all(seen);
        for (const auto& event : seen.events) {
          const auto [source, number] = event->connection.id;
          in_order = in_order && number > last[source];
          last[source] = number;
        }
      }
    }
    return in_order ? count : 0;
  };
  std::uint64_t of_first = 0;
  threads.emplace_back([&] { of_first = read_all(first); });
  const std::uint64_t of_second = read_all(second);
  for (std::thread& thread : threads) thread.join();
  CHECK(of_first == kSources * kEach);
  CHECK(of_second == kSources * kEach);
}

}  // namespace mc::traffic
