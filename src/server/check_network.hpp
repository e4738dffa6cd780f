// SPDX-License-Identifier: Apache-2.0
#pragma once
// The part of `mc-proxy check` about what a configuration expects around it: addresses of this
// machine, DNS servers, and pools in the database. One thread.

#include <vector>

#include "config/config.hpp"
#include "control/state.hpp"
#include "net/ip.hpp"
#include "server/findings.hpp"

namespace mc::server {

/// Whether an interface has each of the addresses that backends are dialled from. Binds them.
void check_sources(Findings& findings, const std::vector<IpAddress>& sources);

/// Which servers resolve the names of backends. Sends them nothing.
void check_dns(Findings& findings, const config::Dns& dns);

/// The pools that listeners name and the database does not have.
void check_named_pools(Findings& findings, const config::Config& config,
                       const control::State& state);

}  // namespace mc::server
