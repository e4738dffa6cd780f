// SPDX-License-Identifier: Apache-2.0
#pragma once
// TCP sockets, with their options in one place. Options set on a listening socket are inherited by
// what it accepts, so a client costs no setsockopt(2).

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/socket_address.hpp"

namespace mc::net {

/// Where a listener listens, and how.
struct ListenAddress {
  SocketAddress address;
  std::string name;  // as the operator wrote it
  /// Whether no interface need have the address now (IP_FREEBIND, ip(7)): it may come later.
  bool freebind = false;
};

/// That nobody listens there, or where connections to there would arrive. Before the sockets are
/// opened: with SO_REUSEPORT a second server of the same user would be let in, and take half of the
/// connections.
Result<void> require_free(const ListenAddress& where);
/// The same beside sockets of this process that take connections to there too: that nobody listens
/// at just this address. The kernel lists it (proc(5), /proc/net/tcp).
Result<void> require_unlisted(const ListenAddress& where);
/// `count` sockets that listen on one address together (SO_REUSEPORT: the kernel spreads
/// connections over them), also beside others of this user, of which the kernel takes the most
/// specific ones for a connection.
Result<std::vector<Fd>> open_shared(const ListenAddress& where, std::size_t count);
/// Both: an address that another process holds is an error even if that process would share it.
Result<std::vector<Fd>> open_listeners(const ListenAddress& where, std::size_t count);

/// Sockets that listen there already, bound by any process, made fit for the proxy and
/// completed to `count` at the least: by further ones beside them where the kernel allows that,
/// else by descriptors of the same. None is ever closed: who waits in its queue would be reset.
Result<std::vector<Fd>> adopt_listeners(std::vector<Fd> inherited, const ListenAddress& where,
                                        std::size_t count);

/// One socket that listens alone at its address. Nothing, with errno, if it cannot.
Fd open_listener(const SocketAddress& address, int backlog);

/// An unconnected socket of the address's family, non-blocking; nothing, with errno, if there is
/// none to be had.
Fd open_backend_socket(const SocketAddress& address);

/// The address of this end of the socket (getsockname(2)); unspecified: it has none.
SocketAddress bound_address(int fd);

/// The number of received bytes below which the socket does not poll readable (SO_RCVLOWAT).
void set_receive_low_water(int fd, std::size_t bytes);

/// Lets the kernel ask, every two hours of silence, whether the peer is still there (SO_KEEPALIVE,
/// tcp(7)).
void keep_alive(int fd);

/// Bytes given to the socket that its peer has not acknowledged yet (SIOCOUTQ, tcp(7)).
std::uint32_t send_queue_bytes(int fd);

/// Makes the coming close(2) send a RST and drop what is queued.
void reset_on_close(int fd);

}  // namespace mc::net
