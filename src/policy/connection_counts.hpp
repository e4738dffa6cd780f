// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a route or a backend of a pool carries.

#include <atomic>
#include <cstdint>

namespace mc::policy {

/// Counts connections since the route or the backend was made, or the process started; never
/// stored. Any thread. All workers write it, a few times in a connection's life and never per byte,
/// so the memory order is relaxed.
struct ConnectionCounts {
  std::atomic<std::uint64_t> connections{0};    // sessions that it was chosen for
  std::atomic<std::uint64_t> active{0};         // gauge: those of them that are open now
  std::atomic<std::uint64_t> dial_failures{0};  // dials that did not connect
  std::atomic<std::uint64_t> bytes_up{0};       // client to backend, of sessions that ended
  std::atomic<std::uint64_t> bytes_down{0};     // backend to client, likewise
};

}  // namespace mc::policy
