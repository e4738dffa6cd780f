// SPDX-License-Identifier: Apache-2.0
#include "ring/timer_wheel.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "support/catch.hpp"

using mc::Clock;
using mc::Instant;
using mc::ring::Timer;
using mc::ring::TimerWheel;

namespace {

constexpr Instant at(std::uint64_t milliseconds) { return Instant(Clock::duration(milliseconds)); }

class Probe final : public Timer {
 public:
  explicit Probe(std::vector<int>& fired, int id = 0) : fired_(fired), id_(id) {}

 private:
  void expired() override { fired_.push_back(id_); }

  std::vector<int>& fired_;
  int id_;
};

// Arms itself again on every expiry, for the same millisecond.
class Stubborn final : public Timer {
 public:
  Stubborn(TimerWheel& wheel, Instant at) : wheel_(wheel), at_(at) { wheel_.arm(*this, at_); }

  int times = 0;

 private:
  void expired() override {
    ++times;
    wheel_.arm(*this, at_);
  }

  TimerWheel& wheel_;
  Instant at_;
};

}  // namespace

TEST_CASE("a timer fires when its time has come, and not before") {
  TimerWheel wheel(at(1000));
  std::vector<int> fired;
  Probe timer(fired);
  wheel.arm(timer, at(1500));
  wheel.advance(at(1499));
  CHECK(fired.empty());
  CHECK(timer.armed());
  wheel.advance(at(1500));
  CHECK(fired.size() == 1);
  CHECK_FALSE(timer.armed());
  wheel.advance(at(100'000));
  CHECK(fired.size() == 1);
}

TEST_CASE("a deadline in the past fires in the next millisecond") {
  TimerWheel wheel(at(1000));
  std::vector<int> fired;
  Probe timer(fired);
  wheel.arm(timer, at(3));
  wheel.advance(at(1000));
  CHECK(fired.empty());
  wheel.advance(at(1001));
  CHECK(fired.size() == 1);
}

TEST_CASE("a timer that re-arms itself for now does not hold the wheel up") {
  TimerWheel wheel(at(0));
  Stubborn timer(wheel, at(5));
  wheel.advance(at(5));
  CHECK(timer.times == 1);
  wheel.advance(at(8));
  CHECK(timer.times == 4);
}

TEST_CASE("a disarmed, a moved and a destroyed timer keep quiet") {
  TimerWheel wheel(at(0));
  std::vector<int> fired;
  Probe disarmed(fired, 1);
  Probe moved(fired, 2);
  auto destroyed = std::make_unique<Probe>(fired, 3);
  wheel.arm(disarmed, at(10));
  wheel.arm(moved, at(10));
  wheel.arm(*destroyed, at(10));
  wheel.disarm(disarmed);
  wheel.arm(moved, at(20));
  destroyed.reset();
  wheel.advance(at(19));
  CHECK(fired.empty());
  wheel.advance(at(20));
  CHECK(fired == std::vector<int>{2});
}

TEST_CASE("next() is nothing without timers, and never later than the first deadline") {
  TimerWheel wheel(at(77));
  CHECK_FALSE(wheel.next().has_value());
  std::vector<int> fired;
  Probe timer(fired);
  wheel.arm(timer, at(77 + 300'000));
  REQUIRE(wheel.next().has_value());
  CHECK(*wheel.next() > at(77));
  CHECK(*wheel.next() <= at(300'077));
  wheel.disarm(timer);
  CHECK_FALSE(wheel.next().has_value());
}

TEST_CASE("following next() reaches every deadline to the millisecond, over all scales") {
  TimerWheel wheel(at(0x3ffffffe));  // just below a carry through several levels
  Instant now = at(0x3ffffffe);
  for (const std::uint64_t delay :
       {1ull, 2ull, 63ull, 64ull, 65ull, 4096ull, 300'000ull, 86'400'000ull, 1ull << 40}) {
    std::vector<int> fired;
    Probe timer(fired);
    const Instant deadline = now + Clock::duration(delay);
    wheel.arm(timer, deadline);
    int steps = 0;
    while (fired.empty()) {
      const auto next = wheel.next();
      REQUIRE(next.has_value());
      REQUIRE(*next <= deadline);
      now = *next;
      wheel.advance(now);
      REQUIRE(++steps < 16);
    }
    CHECK(now == deadline);
  }
}

TEST_CASE("random timers fire in order, each once, never early, never late") {
  std::mt19937_64 random(20261122);
  std::vector<int> fired;
  std::vector<Instant> deadlines;
  std::vector<std::unique_ptr<Probe>> timers;
  Instant now = at(1'700'000'000'000);
  TimerWheel wheel(now);
  for (int i = 0; i < 5000; ++i) {
    timers.push_back(std::make_unique<Probe>(fired, i));
    const std::uint64_t longest = i % 3 == 0 ? 100 : i % 3 == 1 ? 10'000 : 5'000'000;
    deadlines.push_back(now + Clock::duration(1 + random() % longest));
    wheel.arm(*timers.back(), deadlines.back());
  }
  std::size_t checked = 0;
  while (fired.size() < timers.size()) {
    now += Clock::duration(1 + random() % 5000);
    wheel.advance(now);
    for (; checked < fired.size(); ++checked) {
      REQUIRE(deadlines[fired[checked]] <= now);
      if (checked > 0) REQUIRE(deadlines[fired[checked - 1]] <= deadlines[fired[checked]]);
    }
    bool none_late = true;
    for (std::size_t i = 0; i < timers.size(); ++i) {
      none_late = none_late && (deadlines[i] > now || !timers[i]->armed());
    }
    REQUIRE(none_late);
  }
  std::ranges::sort(fired);
  CHECK(std::ranges::adjacent_find(fired) == fired.end());
}
