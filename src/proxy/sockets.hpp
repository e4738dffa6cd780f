// SPDX-License-Identifier: Apache-2.0
#pragma once
// The sockets that the data plane opens, with their options in one place. Options set on a
// listening socket are inherited by what it accepts, so a client costs no setsockopt(2).

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/socket_address.hpp"

namespace mc::proxy {

/// A socket that listens, and the place of its listener in the configuration.
struct ListeningSocket {
  std::size_t listener = 0;
  Fd fd;
};

/// `count` sockets that listen on one address together (SO_REUSEPORT: the kernel spreads
/// connections over them). An address that another process holds is an error even if that process
/// would share it. `name` is how the operator wrote the address.
Result<std::vector<Fd>> open_listeners(const SocketAddress& address, const std::string& name,
                                       std::size_t count);

/// Sockets that listen on `address` already, whoever bound them, made fit for the proxy and
/// completed to `count` at the least: by further ones beside them where the kernel allows that,
/// else by descriptors of the same. None is ever closed: who waits in its queue would be reset.
Result<std::vector<Fd>> adopt_listeners(std::vector<Fd> inherited, const SocketAddress& address,
                                        const std::string& name, std::size_t count);

/// An unconnected socket of the address's family, non-blocking; nothing, with errno, if there is
/// none to be had.
Fd open_backend_socket(const SocketAddress& address);

/// The number of received bytes below which the socket does not poll readable (SO_RCVLOWAT).
void set_receive_low_water(int fd, std::size_t bytes);

/// Lets the kernel ask, every two hours of silence, whether the peer is still there (SO_KEEPALIVE,
/// tcp(7)).
void keep_alive(int fd);

/// Bytes given to the socket that its peer has not acknowledged yet (SIOCOUTQ, tcp(7)).
std::uint32_t send_queue_bytes(int fd);

/// Makes the coming close(2) send a RST and drop what is queued.
void reset_on_close(int fd);

}  // namespace mc::proxy
