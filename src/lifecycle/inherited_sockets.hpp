// SPDX-License-Identifier: Apache-2.0
#pragma once
// Listening sockets that others opened and this process goes on with: systemd's socket units and
// descriptor store (sd_listen_fds(3)), or the server that it succeeds. Clients that wait in their
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

  /// What systemd passed to this process. Once, before other threads and descriptors are made; the
  /// environment then says nothing of it to children.
  static InheritedSockets from_systemd();

  /// Adds sockets, and makes them non-blocking: systemd passes those of socket units blocking, also
  /// to whoever shares them. Descriptors of a socket that is here already, and what does not
  /// listen, are closed.
  void add(std::vector<Fd> sockets);

  /// Gives up those that listen on this address.
  std::vector<Fd> take(const SocketAddress& address);
  /// Gives up the one that listens on this path (unix(7)); nothing if there is none.
  Fd take_unix(const std::string& path);

  [[nodiscard]] std::size_t size() const { return sockets_.size(); }
  /// Where those listen that nobody took, each address once; Unix sockets are not told.
  [[nodiscard]] std::vector<SocketAddress> tcp_addresses() const;

 private:
  std::vector<Fd> sockets_;
};

}  // namespace mc::lifecycle
