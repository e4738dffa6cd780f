// SPDX-License-Identifier: Apache-2.0
#pragma once
// The user of a process, for a command that root runs to see the machine as the server's user
// would. Before the process has threads.

#include <string>

#include "base/result.hpp"

namespace mc::lifecycle {

/// Turns this process of root into one of the user `name`, with that user's groups and only the
/// capability to bind ports below 1024, as systemd starts a server with
/// AmbientCapabilities=CAP_NET_BIND_SERVICE. Cannot be undone.
Result<void> become_user(const std::string& name);

/// Whether this process may bind a port: one below net.ipv4.ip_unprivileged_port_start needs
/// CAP_NET_BIND_SERVICE.
bool may_bind(unsigned port);

}  // namespace mc::lifecycle
