// SPDX-License-Identifier: Apache-2.0
#include "health/lateness.hpp"

#include "support/catch.hpp"

using namespace mc;
using namespace mc::health;
using namespace std::chrono_literals;

TEST_CASE("the most lateness of the last ten seconds is shown, and then forgotten") {
  const Instant start = Instant(1'000'000ms);
  Lateness lateness;
  CHECK(lateness.most(start) == 0ms);
  lateness.started(70ms, start);
  lateness.started(20ms, start + 100ms);
  lateness.started(30ms, start + 2s);
  CHECK(lateness.most(start + 3s) == 70ms);
  CHECK(lateness.most(start + 9s) == 70ms);
  CHECK(lateness.most(start + 11s) == 30ms);
  CHECK(lateness.most(start + 13s) == 0ms);
  lateness.started(5ms, start + 20s);
  CHECK(lateness.most(start + 20s) == 5ms);
}

TEST_CASE("a lateness of weeks is shown as the longest that there is room for") {
  const Instant start = Instant(1'000'000ms);
  Lateness lateness;
  lateness.started(std::chrono::hours(24 * 60), start);
  CHECK(lateness.most(start) == 4'294'967'295ms);
}
