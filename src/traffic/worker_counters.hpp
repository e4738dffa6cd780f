// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker counts. Each counter has one writer, its worker; anyone may read at any time.
// Values only grow, except the gauges.

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "traffic/counter.hpp"
#include "traffic/histogram.hpp"
#include "traffic/reason.hpp"

namespace mc::traffic {

/// Of one worker, for one listener. Aligned, so that no two workers write one cache line.
struct alignas(64) ListenerCounters {
  Counter accepted;                     // connections taken from the kernel, refused ones included
  Counter active;                       // gauge: sessions open now
  Counter bytes_up;                     // client to backend, moved so far
  Counter bytes_down;                   // backend to client, likewise
  std::array<Counter, kReasons> ended;  // connections that ended, by Reason

  Histogram<kWaitBucketsMs> hello_ms;  // from accept to the route; of those that got one
  Histogram<kWaitBucketsMs> dial_ms;   // of those that reached their backend
  // From accept to the end, and what was moved; likewise.
  Histogram<kSessionBucketsMs> session_ms;
  Histogram<kByteBuckets> session_bytes_up;
  Histogram<kByteBuckets> session_bytes_down;

  [[nodiscard]] Counter& of(Reason reason) { return ended[static_cast<std::size_t>(reason)]; }
};

/// Of one worker. Aligned likewise.
struct alignas(64) Counters {
  explicit Counters(std::size_t listeners) : per_listener(listeners) {}

  std::vector<ListenerCounters> per_listener;  // by listener, in configuration order
  Counter pipes_exhausted;                     // times a direction found no pipe and copied
  Counter accept_paused;     // times accepting stopped: no descriptors or memory left
  Counter listeners_paused;  // gauge: listeners that are stopped for that now
  Counter lines_suppressed;  // log lines that the LineLimiter left out
};

}  // namespace mc::traffic
