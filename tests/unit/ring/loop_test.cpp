// SPDX-License-Identifier: Apache-2.0
#include "ring/loop.hpp"

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "ring/event.hpp"
#include "ring/operations.hpp"
#include "ring/task.hpp"
#include "support/catch.hpp"
#include "unit/ring/loop_fixture.hpp"

using namespace mc::ring;
using namespace std::chrono_literals;
using mc::Instant;
using mc::test::make_loop;
using mc::test::turn_until;

namespace {

// Reads nothing: the smallest operation that our rings permit.
class Nop final : public Awaitable {
 public:
  explicit Nop(Loop& loop) : Awaitable(loop) {}

 private:
  void prepare(io_uring_sqe* sqe) const override {
    static const mc::Fd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    io_uring_prep_read(sqe, zero.get(), nullptr, 0, 0);
  }
};

// An operation that an attacker might submit to its ring.
class OpenFile final : public Awaitable {
 public:
  explicit OpenFile(Loop& loop) : Awaitable(loop) {}

 private:
  void prepare(io_uring_sqe* sqe) const override {
    io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
  }
};

Detached open_file(Loop& loop, std::optional<int>& answer) {
  OpenFile file(loop);
  const int result = co_await file;
  answer = result;
}

Detached receive_nothing(Loop& loop, std::optional<int>& answer) {
  Receive receive(loop, -1, {});
  const int result = co_await receive;
  answer = result;
}

Detached nop_once(Loop& loop, int& done) {
  Nop nop(loop);
  const int result = co_await nop;
  if (result == 0) ++done;
}

Detached sleeper(Loop& loop, Instant until, int id, std::vector<int>& order) {
  Sleep sleep(loop, until);
  co_await sleep;
  order.push_back(id);
}

Detached yielder(Loop& loop, int times, int& turns) {
  for (int i = 0; i < times; ++i) {
    co_await loop.yield();
    ++turns;
  }
}

Detached event_waiter(Event& event, int& woken) {
  for (;;) {
    co_await event;
    if (++woken == 3) co_return;
  }
}

}  // namespace

TEST_CASE("more operations than the submission queue holds are all submitted and all answered") {
  const auto loop = make_loop();
  int done = 0;
  constexpr int kMany = static_cast<int>(kSubmissionEntries) * 3 + 7;
  for (int i = 0; i < kMany; ++i) nop_once(*loop, done);
  CHECK(loop->in_flight() == static_cast<std::size_t>(kMany));
  turn_until(*loop, [&] { return done == kMany; });
  CHECK(loop->in_flight() == 0);
}

TEST_CASE("more completions than the completion queue holds are kept by the kernel, none is lost") {
  const auto loop = make_loop();
  int done = 0;
  constexpr int kMany = static_cast<int>(kCompletionEntries) + 5000;
  for (int i = 0; i < kMany; ++i) nop_once(*loop, done);
  turn_until(*loop, [&] { return done == kMany; });
  CHECK(loop->in_flight() == 0);
}

TEST_CASE("another thread wakes a loop that has nothing else to wait for") {
  const auto loop = make_loop();
  std::atomic<int> rounds{0};
  std::thread waker([&] {
    for (int i = 1; i <= 50; ++i) {
      loop->wake();
      rounds.wait(i - 1);
    }
  });
  for (int i = 0; i < 50; ++i) {
    loop->wait();
    loop->dispatch();
    rounds.fetch_add(1);
    rounds.notify_one();
  }
  waker.join();
  CHECK(rounds == 50);
}

TEST_CASE("deadlines are met in their order although nothing else happens") {
  const auto loop = make_loop();
  std::vector<int> order;
  const Instant now = loop->now();
  sleeper(*loop, now + 30ms, 3, order);
  sleeper(*loop, now + 10ms, 1, order);
  sleeper(*loop, now + 20ms, 2, order);
  turn_until(*loop, [&] { return order.size() == 3; });
  CHECK(order == std::vector<int>{1, 2, 3});
  CHECK(loop->now() >= now + 30ms);
}

TEST_CASE("a coroutine that yields goes on in the next turn, not in this one") {
  const auto loop = make_loop();
  int turns = 0;
  yielder(*loop, 3, turns);
  for (int turn = 1; turn <= 3; ++turn) {
    loop->wait();
    loop->dispatch();
    CHECK(turns == turn);
  }
}

TEST_CASE("an event remembers one notification for whoever comes late, and wakes its waiter once") {
  const auto loop = make_loop();
  Event event(*loop);
  int woken = 0;
  event.notify();
  event.notify();
  event_waiter(event, woken);
  CHECK(woken == 1);
  event.notify();
  event.notify();  // the waiter is on its way: remembered for its next wait
  turn_until(*loop, [&] { return woken == 3; });
}

TEST_CASE("a ring that is made for less refuses the rest of what a worker does") {
  constexpr int kReads[] = {IORING_OP_READ, IORING_OP_ASYNC_CANCEL};
  auto made =
      Loop::create({.operations = kReads, .submission_entries = 8, .completion_entries = 16});
  REQUIRE(made.has_value());
  const auto loop = *std::move(made);
  std::optional<int> answer;
  receive_nothing(*loop, answer);
  turn_until(*loop, [&] { return answer.has_value(); });
  CHECK(*answer == -EACCES);
}

TEST_CASE("a ring refuses what the proxy does not do with it") {
  const auto loop = make_loop();
  std::optional<int> answer;
  open_file(*loop, answer);
  turn_until(*loop, [&] { return answer.has_value(); });
  CHECK(*answer == -EACCES);
}
