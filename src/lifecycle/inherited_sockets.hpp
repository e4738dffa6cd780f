// SPDX-License-Identifier: Apache-2.0
#pragma once
// Listening sockets that others opened and this process continues with: from systemd's socket units
// and descriptor store (sd_listen_fds(3)), or from the server before it. Clients that wait in their
// queues are not lost. One thread at a time.

#include <cstddef>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "net/socket_address.hpp"

namespace mc::lifecycle {

class InheritedSockets {
 public:
  InheritedSockets() = default;

  /// The sockets that systemd passed to this process. Call it once, before other threads and
  /// descriptors are made; it removes the variables, so children do not see them.
  static InheritedSockets from_systemd();

  /// Adds sockets, and makes them non-blocking: systemd passes those of socket units blocking, also
  /// to other processes that share them. Closes duplicates of a socket that is here already, and
  /// sockets that do not listen.
  void add(std::vector<Fd> sockets);

  /// Removes and returns those that listen on this address.
  std::vector<Fd> take(const SocketAddress& address);
  /// Removes and returns the one that listens on this path (unix(7)); nothing if there is none.
  Fd take_unix(const std::string& path);

  [[nodiscard]] std::size_t size() const { return sockets_.size(); }
  /// The addresses of sockets that were not taken, each once; without Unix sockets.
  [[nodiscard]] std::vector<SocketAddress> tcp_addresses() const;

 private:
  std::vector<Fd> sockets_;
};

}  // namespace mc::lifecycle
