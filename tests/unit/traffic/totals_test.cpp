// SPDX-License-Identifier: Apache-2.0
#include "traffic/totals.hpp"

#include "support/catch.hpp"

namespace mc::traffic {

TEST_CASE("totals add up the workers, for each listener and for all") {
  Counters one(2);
  Counters other(2);
  one.per_listener[0].accepted.add(3);
  one.per_listener[1].accepted.add(5);
  other.per_listener[1].accepted.add(7);
  one.per_listener[0].active.add(2);
  one.per_listener[0].active.subtract();
  one.per_listener[0].bytes_up.add(10);
  other.per_listener[0].bytes_up.add(20);
  other.per_listener[1].bytes_down.add(40);
  one.per_listener[0].of(Reason::kNoSni).add();
  other.per_listener[1].of(Reason::kNoSni).add();
  other.per_listener[1].of(Reason::kCompleted).add();
  Totals totals;
  totals.add(one);
  totals.add(other);
  REQUIRE(totals.listeners.size() == 2);
  CHECK(totals.listeners[0].accepted == 3);
  CHECK(totals.listeners[1].accepted == 12);
  CHECK(totals.accepted == 15);
  CHECK(totals.listeners[0].active == 1);
  CHECK(totals.active == 1);
  CHECK(totals.listeners[0].bytes_up == 30);
  CHECK(totals.listeners[1].bytes_up == 0);
  CHECK(totals.bytes_up == 30);
  CHECK(totals.listeners[1].bytes_down == 40);
  CHECK(totals.bytes_down == 40);
  const auto no_sni = static_cast<std::size_t>(Reason::kNoSni);
  const auto completed = static_cast<std::size_t>(Reason::kCompleted);
  CHECK(totals.listeners[0].ended[no_sni] == 1);
  CHECK(totals.listeners[0].ended[completed] == 0);
  CHECK(totals.ended[no_sni] == 2);
  CHECK(totals.ended[completed] == 1);
}

TEST_CASE("what is no listener's is the sum of the workers") {
  Counters one(1);
  Counters other(1);
  one.pipes_exhausted.add(1);
  other.pipes_exhausted.add(1);
  one.accept_paused.add(2);
  other.accept_paused.add(3);
  one.listeners_paused.add(4);
  other.listeners_paused.add(5);
  one.lines_suppressed.add(6);
  other.lines_suppressed.add(7);
  Totals totals;
  totals.add(one);
  totals.add(other);
  CHECK(totals.pipes_exhausted == 2);
  CHECK(totals.accept_paused == 5);
  CHECK(totals.listeners_paused == 9);
  CHECK(totals.lines_suppressed == 13);
}

TEST_CASE("each histogram of a listener goes to its own total") {
  Counters counters(2);
  ListenerCounters& listener = counters.per_listener[1];
  listener.hello_ms.observe(std::uint64_t{1});
  listener.dial_ms.observe(std::uint64_t{2});
  listener.session_ms.observe(std::uint64_t{3});
  listener.session_bytes_up.observe(std::uint64_t{4});
  listener.session_bytes_down.observe(std::uint64_t{5});
  Totals totals;
  totals.add(counters);
  CHECK(totals.listeners[1].hello_ms.sum == 1);
  CHECK(totals.listeners[1].dial_ms.sum == 2);
  CHECK(totals.listeners[1].session_ms.sum == 3);
  CHECK(totals.listeners[1].session_bytes_up.sum == 4);
  CHECK(totals.listeners[1].session_bytes_down.sum == 5);
  CHECK(totals.listeners[0].hello_ms.sum == 0);
}

}  // namespace mc::traffic
