// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the counters of all workers add up to, at one moment. Values.

#include <array>
#include <cstdint>
#include <vector>

#include "traffic/histogram.hpp"
#include "traffic/reason.hpp"
#include "traffic/worker_counters.hpp"

namespace mc::traffic {

/// Of one listener; see ListenerCounters.
struct ListenerTotals {
  std::uint64_t active = 0;
  std::uint64_t accepted = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::array<std::uint64_t, kReasons> ended{};
  HistogramTotals hello_ms;
  HistogramTotals dial_ms;
  HistogramTotals session_ms;
  HistogramTotals session_bytes_up;
  HistogramTotals session_bytes_down;
};

struct Totals {
  std::uint64_t active = 0;    // of all listeners
  std::uint64_t accepted = 0;  // likewise
  std::array<std::uint64_t, kReasons> ended{};
  std::uint64_t bytes_up = 0;    // moved so far, by open connections too
  std::uint64_t bytes_down = 0;  // likewise
  std::uint64_t pipes_exhausted = 0;
  std::uint64_t accept_paused = 0;
  std::uint64_t listeners_paused = 0;
  std::uint64_t lines_suppressed = 0;
  std::vector<ListenerTotals> listeners;  // in configuration order

  /// Adds what a worker has counted, for the same listeners.
  void add(const Counters& counters);
};

}  // namespace mc::traffic
