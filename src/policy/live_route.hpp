// SPDX-License-Identifier: Apache-2.0
#pragma once
// A route in force: its specification, and the counters that change while it runs.

#include <memory>

#include "policy/connection_counts.hpp"
#include "policy/route.hpp"

namespace mc::policy {

struct LiveRoute {
  Route spec;
  /// Never null. Shared by all tables that have the route, and by its sessions. A route that
  /// replaces another starts at zero, unless it gets the other's counters.
  std::shared_ptr<ConnectionCounts> counts = std::make_shared<ConnectionCounts>();
};

}  // namespace mc::policy
