// SPDX-License-Identifier: Apache-2.0
#include "proxy/interruption.hpp"

#include "support/catch.hpp"

namespace mc::proxy {

TEST_CASE("the first order counts, and replaces a deadline") {
  Interruption interruption;
  interruption.time_out(Reason::kDialTimeout);
  CHECK(interruption.reason() == Reason::kDialTimeout);
  CHECK_FALSE(interruption.is_final());
  interruption.interrupt(Reason::kShutdown);
  interruption.interrupt(Reason::kFirewallCut);
  interruption.time_out(Reason::kDialTimeout);
  CHECK(interruption.reason() == Reason::kShutdown);
  CHECK(interruption.is_final());
}

TEST_CASE("a deadline that was met after all is forgiven, and an order is not") {
  Interruption interruption;
  interruption.time_out(Reason::kHelloTimeout);
  interruption.forgive_deadline();
  CHECK(interruption.reason() == Reason::kNone);
  interruption.interrupt(Reason::kShutdown);
  interruption.forgive_deadline();
  CHECK(interruption.reason() == Reason::kShutdown);
}

TEST_CASE("an end that is settled takes no order") {
  Interruption interruption;
  interruption.settle(Reason::kCompleted);
  interruption.interrupt(Reason::kShutdown);
  CHECK(interruption.reason() == Reason::kCompleted);
  CHECK(interruption.is_final());
}

TEST_CASE("whatever wakes a session wakes what it waits for, reason or not") {
  struct Wait final : ring::Interruptible {
    int woken = 0;
    void interrupt() override { ++woken; }
    static bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<>) {}
    static void await_resume() {}
  } wait;
  Interruption interruption;
  auto awaiter = interruption.reaches(wait);
  REQUIRE_FALSE(awaiter.await_ready());
  awaiter.await_suspend({});
  interruption.wake();
  interruption.time_out(Reason::kIdleTimeout);
  interruption.interrupt(Reason::kShutdown);
  CHECK(wait.woken == 3);
  awaiter.await_resume();
  interruption.wake();
  CHECK(wait.woken == 3);
  CHECK(interruption.reaches(wait).await_ready());  // with a reason to end, nothing is awaited
}

}  // namespace mc::proxy
