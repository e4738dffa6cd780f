// SPDX-License-Identifier: Apache-2.0
#pragma once
// How systemd would start the server: the user, the limits and the sockets that its unit gives. For
// `mc-proxy check`, which an operator runs as another user, with other limits. One thread.

#include <sys/resource.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/socket_address.hpp"

namespace mc::lifecycle {

struct ServiceUnit {
  std::string name;                              // "mc-proxy.service"
  std::string user;                              // empty: root
  std::string command;                           // of ExecStart=, with its words
  std::vector<std::string> runtime_directories;  // "/run/mc-proxy"; systemd makes them
  bool binds_low_ports = false;                  // AmbientCapabilities=CAP_NET_BIND_SERVICE
  bool stores_sockets = false;                   // systemd holds sockets that a server left there
  std::optional<rlim_t> descriptors_max, locked_memory_max;
  /// Where the socket unit of the same name listens, if it is active.
  std::vector<SocketAddress> sockets;

  /// Whether the unit starts a server with this configuration file.
  [[nodiscard]] bool uses(const std::string& config_path) const;
};

/// Queries systemd for the units `name`.service and `name`.socket. Nothing where systemd does not
/// run, does not reply within kUnitAnswerMax, or has no such service.
std::optional<ServiceUnit> find_service_unit(const std::string& name);

/// Reads what `systemctl show` prints of the two units. A pure function.
std::optional<ServiceUnit> parse_service_unit(std::string_view text);

}  // namespace mc::lifecycle
