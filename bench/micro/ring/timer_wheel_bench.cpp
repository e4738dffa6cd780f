// SPDX-License-Identifier: Apache-2.0
// What a deadline costs among many: arming and cancelling, as nearly every one ends; moving it, as
// a connection's idle timer is moved; letting it pass. Each beside the same with an ordered tree
// (std::multimap), which is what a program without a wheel would have; "ratio" is the wheel's time
// by the tree's.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "../beside.hpp"
#include "ring/timer_wheel.hpp"

namespace mc::ring {
namespace {

constexpr std::int64_t kFew = 1'000;
constexpr std::int64_t kMany = 100'000;
constexpr std::size_t kBatch = 512;  // operations between two readings of the clock
constexpr Instant kStart{Clock::duration(1'000'000)};
constexpr Clock::duration kLongest{300'000};  // the default idle timeout

constexpr double kMinSeconds = 0.05;  // of the wheel's time; the tree takes ten times as long

using bench::seconds_of;

Instant random_expiry(std::mt19937_64& random) {
  return kStart + Clock::duration(1 + random() % kLongest.count());
}

struct CountedTimer final : Timer {
  std::uint64_t* fired = nullptr;
  void expired() override { ++*fired; }
};

/// As many timers as wanted on the wheel, at random deadlines.
class Wheel {
 public:
  explicit Wheel(std::size_t count) : timers_(count) {
    for (CountedTimer& timer : timers_) timer.fired = &fired_;
  }

  void arm(std::size_t i, Instant expiry) { wheel_.arm(timers_[i], expiry); }
  void disarm(std::size_t i) { wheel_.disarm(timers_[i]); }
  void advance(Instant now) { wheel_.advance(now); }
  [[nodiscard]] std::uint64_t fired() const { return fired_; }

 private:
  std::uint64_t fired_ = 0;
  TimerWheel wheel_{kStart};
  std::deque<CountedTimer> timers_;
};

/// The same on a tree.
class Tree {
 public:
  explicit Tree(std::size_t count) : places_(count, tree_.end()) {}

  void arm(std::size_t i, Instant expiry) {
    disarm(i);
    places_[i] = tree_.emplace(expiry, i);
  }
  void disarm(std::size_t i) {
    if (places_[i] == tree_.end()) return;
    tree_.erase(places_[i]);
    places_[i] = tree_.end();
  }
  void advance(Instant now) {
    while (!tree_.empty() && tree_.begin()->first <= now) {
      disarm(tree_.begin()->second);
      ++fired_;
    }
  }
  [[nodiscard]] std::uint64_t fired() const { return fired_; }

 private:
  std::uint64_t fired_ = 0;
  std::multimap<Instant, std::size_t> tree_;
  std::vector<std::multimap<Instant, std::size_t>::iterator> places_;
};

/// Which timer, and when.
struct Choice {
  std::size_t timer;
  Instant expiry;
};

std::vector<Choice> choices(std::size_t count, std::size_t among, std::mt19937_64& random) {
  std::vector<Choice> result(count);
  for (Choice& choice : result) choice = {random() % among, random_expiry(random)};
  return result;
}

/// `batch` is done to both, in turns; the figure is the wheel's.
template <class Batch>
void compare(benchmark::State& state, Batch&& batch) {
  const auto count = static_cast<std::size_t>(state.range(0));
  std::mt19937_64 random(1);
  Wheel wheel(count);
  Tree tree(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Instant expiry = random_expiry(random);
    wheel.arm(i, expiry);
    tree.arm(i, expiry);
  }
  bench::Beside beside(state, kBatch);
  for (auto _ : state) {
    const auto wanted = choices(kBatch, count, random);
    const double seconds = seconds_of([&] { batch(wheel, wanted); });
    beside.add(seconds, seconds_of([&] { batch(tree, wanted); }));
  }
  beside.report("wheel", "tree");
}

void cancel_and_arm(benchmark::State& state) {
  compare(state, [](auto& timers, const std::vector<Choice>& wanted) {
    for (const Choice& choice : wanted) {
      timers.disarm(choice.timer);
      timers.arm(choice.timer, choice.expiry);
    }
  });
}
BENCHMARK(cancel_and_arm)
    ->ArgName("timers")
    ->Arg(kFew)
    ->Arg(kMany)
    ->UseManualTime()
    ->MinTime(kMinSeconds);

void move(benchmark::State& state) {
  compare(state, [](auto& timers, const std::vector<Choice>& wanted) {
    for (const Choice& choice : wanted) timers.arm(choice.timer, choice.expiry);
  });
}
BENCHMARK(move)->ArgName("timers")->Arg(kFew)->Arg(kMany)->UseManualTime()->MinTime(kMinSeconds);

template <class Timers>
double pass(std::size_t count, benchmark::State& state) {
  std::mt19937_64 random(1);
  Timers timers(count);
  for (std::size_t i = 0; i < count; ++i) timers.arm(i, random_expiry(random));
  const double seconds = seconds_of([&] {
    for (Instant now = kStart; now <= kStart + kLongest; now += Clock::duration(10))
      timers.advance(now);
  });
  if (timers.fired() != count) state.SkipWithError("not every timer fired, once");
  return seconds;
}

/// All of them fire, in five minutes of turns 10 ms apart. With few timers the 30,000 turns cost,
/// not the firing.
void pass_all(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  bench::Beside beside(state, count);
  for (auto _ : state) {
    const double seconds = pass<Wheel>(count, state);
    beside.add(seconds, pass<Tree>(count, state));
  }
  beside.report("wheel", "tree");
}
BENCHMARK(pass_all)->ArgName("timers")->Arg(kFew)->Arg(kMany)->UseManualTime()->Unit(
    benchmark::kMillisecond);

}  // namespace
}  // namespace mc::ring

BENCHMARK_MAIN();
