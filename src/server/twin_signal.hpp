// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether a stop signal is one that the keeper has passed on already: `kill $(pidof mc-proxy)`
// reaches the keeper, which orders a stop, and the server too. Taken for a second stop, the signal
// would cut all sessions.

#include <optional>
#include <utility>

#include "base/clock.hpp"
#include "lifecycle/limits.hpp"

namespace mc::server {

class TwinSignal {
 public:
  /// The keeper has ordered a stop, before any signal came.
  void expect(Instant ordered_at) { expected_until_ = ordered_at + lifecycle::kTwinMax; }

  /// Whether this signal is the one that is expected. Only the first one after the order can be.
  [[nodiscard]] bool take(Instant now) {
    const auto until = std::exchange(expected_until_, std::nullopt);
    return until.has_value() && now <= *until;
  }

 private:
  std::optional<Instant> expected_until_;
};

}  // namespace mc::server
