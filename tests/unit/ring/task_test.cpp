// SPDX-License-Identifier: Apache-2.0
#include "ring/task.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using mc::ring::Detached;
using mc::ring::Task;

namespace {

// Stands for the kernel: suspends until the test resumes it.
struct Gate {
  std::coroutine_handle<> waiter;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) { waiter = coroutine; }
  void await_resume() const noexcept {}
  void open() { std::exchange(waiter, nullptr).resume(); }
};

struct Tracked {
  explicit Tracked(int& counter) : alive(counter) { ++alive; }
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;
  ~Tracked() { --alive; }
  int& alive;
};

Task<int> stage(Gate& gate, int answer, int& alive) {
  const Tracked tracked(alive);
  co_await gate;
  co_return answer;
}

Task<int> immediate(int answer) { co_return answer; }

Detached story(Gate& gate, std::vector<std::string>& told, int& alive) {
  const Tracked tracked(alive);
  told.push_back("began");
  const int first = co_await stage(gate, 1, alive);
  told.push_back("stage " + std::to_string(first));
  const int second = co_await stage(gate, 2, alive);
  told.push_back("stage " + std::to_string(second));
}

Detached count_to(int limit, int& sum) {
  for (int i = 0; i < limit; ++i) {
    const int one = co_await immediate(1);
    sum += one;
  }
}

}  // namespace

TEST_CASE("a story runs through its stages in order and frees every frame") {
  Gate gate;
  std::vector<std::string> told;
  int alive = 0;
  story(gate, told, alive);
  CHECK(told == std::vector<std::string>{"began"});
  CHECK(alive == 2);
  gate.open();
  CHECK(told.back() == "stage 1");
  CHECK(alive == 2);
  gate.open();
  CHECK(told.back() == "stage 2");
  CHECK(alive == 0);
}

TEST_CASE("a task that nobody awaited never starts") {
  Gate gate;
  int alive = 0;
  {
    const Task<int> never = stage(gate, 1, alive);
  }
  CHECK(alive == 0);
  CHECK(gate.waiter == nullptr);
}

TEST_CASE("a thousand stages that answer at once all answer") {
  int sum = 0;
  count_to(1000, sum);
  CHECK(sum == 1000);
}

TEST_CASE("an answer that can only be moved is moved") {
  struct Mover {
    static Task<std::unique_ptr<int>> make() { co_return std::make_unique<int>(7); }
    static Detached run(int& seen) {
      const std::unique_ptr<int> answer = co_await make();
      seen = *answer;
    }
  };
  int seen = 0;
  Mover::run(seen);
  CHECK(seen == 7);
}
