// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker counts. Each counter has one writer, its worker; anyone may read at any time.
// Values only grow, except the gauges.

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "proxy/reason.hpp"

namespace mc::proxy {

/// A number with one writing thread and any number of readers; no locked instruction on either
/// side.
class Counter {
 public:
  void add(std::uint64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - amount, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Of one worker, for one listener.
struct ListenerCounters {
  Counter accepted;  // connections taken from the kernel, refused ones included
  Counter active;    // gauge: sessions open now
};

/// Of one worker. Aligned, so that no two workers write one cache line.
struct alignas(64) Counters {
  explicit Counters(std::size_t listeners) : per_listener(listeners) {}

  std::vector<ListenerCounters> per_listener;  // by listener, in configuration order
  std::array<Counter, kReasons> ended;         // connections that ended, by Reason
  Counter bytes_up;                            // client to backend, of sessions that ended
  Counter bytes_down;                          // backend to client, likewise
  Counter pipes_exhausted;                     // times a direction found no pipe and copied
  Counter accept_paused;     // times accepting stopped for want of descriptors or memory
  Counter listeners_paused;  // gauge: listeners that want for them now

  [[nodiscard]] Counter& of(Reason reason) { return ended[static_cast<std::size_t>(reason)]; }
};

}  // namespace mc::proxy
