// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who a process is, for a command of root's that looks at the machine as the server's user would
// see it. Before the process has threads.

#include <string>

#include "base/result.hpp"

namespace mc::lifecycle {

/// Makes this process of root one of the user `name`, with that user's groups and no capability but
/// the one to bind ports below 1024, as systemd starts a server with
/// AmbientCapabilities=CAP_NET_BIND_SERVICE. There is no way back.
Result<void> become_user(const std::string& name);

/// Whether this process may bind a port: one below net.ipv4.ip_unprivileged_port_start takes
/// CAP_NET_BIND_SERVICE.
bool may_bind(unsigned port);

}  // namespace mc::lifecycle
