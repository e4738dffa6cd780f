// SPDX-License-Identifier: Apache-2.0
#pragma once
// A route in force: its specification, and the counters that change while it runs.

#include <atomic>
#include <cstdint>
#include <memory>

#include "policy/route.hpp"

namespace mc::policy {

/// Counts the connections to a backend since its route was made or the process started; never
/// stored. Any thread. All workers write it, a few times in a connection's life and never per byte,
/// so the memory order is relaxed.
struct BackendState {
  std::atomic<std::uint64_t> connections{0};    // sessions that it was chosen for
  std::atomic<std::uint64_t> active{0};         // gauge: those of them that are open now
  std::atomic<std::uint64_t> dial_failures{0};  // those of them that could not connect to it
  std::atomic<std::uint64_t> bytes_up{0};       // client to backend, of sessions that ended
  std::atomic<std::uint64_t> bytes_down{0};     // backend to client, likewise
};

struct LiveRoute {
  Route spec;
  /// Never null. Shared by all tables that have the route, and by its sessions. A route that
  /// replaces another starts at zero, unless it gets the other's counters.
  std::shared_ptr<BackendState> state = std::make_shared<BackendState>();
};

}  // namespace mc::policy
