// SPDX-License-Identifier: Apache-2.0
#pragma once
// The clock of deadlines and ages: CLOCK_MONOTONIC in whole milliseconds. An instant and a span are
// different types, so that neither is taken for the other.

#include <chrono>

namespace mc {

struct Clock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Clock>;
  static constexpr bool is_steady = true;

  /// Any thread.
  static time_point now() {
    return time_point(std::chrono::floor<duration>(
        std::chrono::steady_clock::now().time_since_epoch()));  // CLOCK_MONOTONIC on Linux
  }
};

using Instant = Clock::time_point;

}  // namespace mc
