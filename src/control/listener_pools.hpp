// SPDX-License-Identifier: Apache-2.0
#pragma once
// The pools that a listener's settings name. They are in the configuration, and pools in the
// database: one that is named stays. Pure; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "policy/listener_settings.hpp"

namespace mc::control {

struct PoolUse {
  std::string pool;
  /// Who is sent to it, in words: "clients without TLS".
  std::string_view clients;
};

/// In the order of the settings.
std::vector<PoolUse> pools_named_by(const policy::ListenerSettings& settings);

}  // namespace mc::control
