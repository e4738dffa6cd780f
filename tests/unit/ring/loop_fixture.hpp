// SPDX-License-Identifier: Apache-2.0
#pragma once
// What tests of the ring share: a loop of this thread, and a bounded way to turn it.

#include <chrono>
#include <memory>

#include "ring/loop.hpp"
#include "support/catch.hpp"

namespace mc::test {

inline std::unique_ptr<ring::Loop> make_loop() {
  auto loop = ring::Loop::create();
  if (!loop.has_value()) {
    FAIL(ring::explain(loop.error(), ring::HostProbe::probe()).message);
  }
  return std::move(*loop);
}

/// Turns the loop until `done`, and fails the test if that takes more than ten seconds.
template <class Condition>
void turn_until(ring::Loop& loop, Condition&& done) {
  struct Alarm final : ring::Timer {
    bool rang = false;
    void expired() override { rang = true; }
  } alarm;
  loop.timers().arm(alarm, loop.now() + std::chrono::seconds(10));
  while (!done() && !alarm.rang) {
    loop.wait();
    loop.dispatch();
  }
  REQUIRE_FALSE(alarm.rang);
}

}  // namespace mc::test
