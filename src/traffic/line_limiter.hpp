// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps a flood of like lines from drowning the log: of each kind ("connection refused" or "dial
// failed", of one listener, for one reason) so many are written in a second, and once a second a
// line says how many were left out. Only for lines that a client can cause without a backend's
// help; those of connections that were served are the access log, and all stay. Owned by a worker;
// its thread only.

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
  /// `lines_max` of a kind go through in a second; what does not is added to `suppressed`. All
  /// references outlive it.
  LineLimiter(ring::TimerWheel& timers, const std::vector<std::string>& listener_names,
              std::uint32_t lines_max, Counter& suppressed, Log& log);

  /// Whether to write the line with which a connection ended that was not served. If not, it is
  /// counted. Ask only for a line that the log's level lets through.
  bool admits(std::size_t listener, Reason reason, Instant now);

  /// Says what was left out since this was said last; also to be called when no more lines come.
  void report();

 private:
  struct Kind {
    Instant began;                 // of the second that `lines` belong to
    std::uint32_t lines = 0;       // written in it
    std::uint64_t suppressed = 0;  // not told yet
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
