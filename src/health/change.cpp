// SPDX-License-Identifier: Apache-2.0
#include "health/change.hpp"

#include <algorithm>

namespace mc::health {

bool calls_for_reset(const Change& change, Instant now) {
  if (change.after != policy::Health::kDown) return false;
  if (change.pool->spec().settings.on_down != policy::OnDown::kReset) return false;
  return std::ranges::any_of(change.pool->backends(), [now](const policy::LiveBackend& backend) {
    return backend.spec.state == policy::AdminState::kReady && backend.state->is_alive(now);
  });
}

}  // namespace mc::health
