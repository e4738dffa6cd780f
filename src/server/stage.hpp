// SPDX-License-Identifier: Apache-2.0
#pragma once
// The stages of a running server, each with what only it has, and what a stop does in each. Pure:
// main_loop.hpp acts, and moves from stage to stage.

#include <cstdint>
#include <optional>
#include <variant>

#include "base/clock.hpp"

namespace mc::server {

struct Serving {};

/// The keeper has left: this server serves until a successor comes.
struct Left {
  Instant since;
};

/// Another server has taken over; sessions have drain_timeout.
struct Draining {};

/// Sessions have shutdown_timeout.
struct Stopping {
  /// Until then it waits for the servers that drain, which it has stopped too; nothing: it was one
  /// of them, and waits for its own sessions only.
  std::optional<Instant> others_until;
};

using Stage = std::variant<Serving, Left, Draining, Stopping>;

enum class HandOver : std::uint8_t { kNone, kUnderWay };

enum class StopAction : std::uint8_t {
  kWaitForHandOver,  // to stop now could leave no server: the successor still needs this one
  kStopServing,
  kStopLeft,  // as kStopServing; and the next start must not have to wait for the last session
  kStopDraining,
  kCut,  // it is the second stop
};

StopAction action_on_stop(const Stage& stage, HandOver hand_over);

}  // namespace mc::server
