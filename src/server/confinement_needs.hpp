// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the confinement of a server depends on, for the server and `mc-proxy check` alike. Pure; any
// thread.

#include <fmt/format.h>

#include <iterator>
#include <string>

#include "config/config.hpp"
#include "lifecycle/confinement.hpp"
#include "ring/restriction.hpp"

namespace mc::server {

/// What the configuration needs that is else forbidden.
inline lifecycle::ConfinementNeeds confinement_needs(const config::Config& config) {
  return {.source_addresses = !config.proxy.sources.empty()};
}

/// What every ring is restricted to; see Confinement::rings.
inline std::string allowed_on_rings() {
  return fmt::format("{} operations allowed", std::size(ring::kOperations));
}

}  // namespace mc::server
