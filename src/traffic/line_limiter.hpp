// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps a flood of similar lines from drowning the log: of each kind ("connection refused", "dial
// failed" or a redirect, of one listener, for one reason) a limited number is written in a second,
// and once a second a line reports how many were left out. Only for lines that a client can cause
// without a backend's help; those of served connections are the access log, and all are written.
// Owned by a worker; its thread only.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "ring/timer_wheel.hpp"
#include "traffic/counter.hpp"
#include "traffic/reason.hpp"

namespace mc::traffic {

class LineLimiter final : private ring::Timer {
 public:
  /// Admits `lines_max` of a kind in a second; adds the others to `suppressed`. All references
  /// outlive it.
  LineLimiter(ring::TimerWheel& timers, const std::vector<std::string>& listener_names,
              std::uint32_t lines_max, Counter& suppressed, Log& log);

  /// Whether to write the line of a connection that no backend has served. If not, counts it.
  /// Call it only for a line that the log's level lets through.
  bool admits(std::size_t listener, Reason reason, Instant now);

  /// Logs what was left out since the last report; call it also when no more lines come.
  void report();

 private:
  struct Kind {
    Instant began;                 // of the second that `lines` belong to
    std::uint32_t lines = 0;       // written in it
    std::uint64_t suppressed = 0;  // not logged yet
  };

  void expired() override { report(); }

  ring::TimerWheel& timers_;
  const std::vector<std::string>& listener_names_;
  const std::uint32_t lines_max_;
  Counter& suppressed_;
  Log& log_;
  std::vector<Kind> kinds_;  // by listener, then by reason
};

/// What one of `workers` gets of kLinesPerSecond.
std::uint32_t line_share(std::size_t workers);

}  // namespace mc::traffic
