// SPDX-License-Identifier: Apache-2.0
#pragma once
// TCP sockets, with their options in one place. Options set on a listening socket are inherited by
// what it accepts, so a client costs no setsockopt(2).

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/connect_address.hpp"
#include "net/socket_address.hpp"

namespace mc::net {

/// Where a listener listens, and how.
struct ListenAddress {
  SocketAddress address;
  std::string name;  // as the operator wrote it
  /// Allows an address that no interface has yet (IP_FREEBIND, ip(7)).
  bool freebind = false;
};

/// Requires that no socket listens at this address, or would take connections to it. Call it before
/// the sockets are opened: with SO_REUSEPORT the kernel admits a second server of the same user,
/// and gives it half of the connections.
Result<void> require_free(const ListenAddress& where);
/// The same beside sockets of this process that also take connections to this address: requires
/// that no socket listens at exactly this address. The kernel lists it (proc(5), /proc/net/tcp).
Result<void> require_unlisted(const ListenAddress& where);
/// `count` sockets that listen on one address together (SO_REUSEPORT: the kernel spreads
/// connections over them), also beside other sockets of this user. For a connection the kernel
/// takes the most specific ones.
Result<std::vector<Fd>> open_shared(const ListenAddress& where, std::size_t count);
/// Both: an address that another process holds is an error even if that process would share it.
Result<std::vector<Fd>> open_listeners(const ListenAddress& where, std::size_t count);

/// Makes sockets that listen there already, bound by any process, fit for the proxy. Adds more up
/// to at least `count`: further sockets where the kernel allows that, else duplicate descriptors.
/// Never closes one: that would reset the clients in its queue.
Result<std::vector<Fd>> adopt_listeners(std::vector<Fd> inherited, const ListenAddress& where,
                                        std::size_t count);

/// One socket that listens alone at its address.
Result<Fd> open_alone(const ListenAddress& where, int backlog);

/// An unconnected socket of the address's family, non-blocking; nothing, with errno, if there is
/// none to be had.
Fd open_backend_socket(const ConnectAddress& address);

/// The local address of the socket (getsockname(2)); unspecified if it has none.
SocketAddress bound_address(int fd);

/// Whether a connection to this address stays on this machine.
bool leads_here(const SocketAddress& address);

/// The number of received bytes below which the socket does not poll readable (SO_RCVLOWAT).
void set_receive_low_water(int fd, std::size_t bytes);

/// Makes the kernel check, after every two hours of silence, whether the peer is still there
/// (SO_KEEPALIVE, tcp(7)).
void keep_alive(int fd);

/// What is queued in the socket, as much as the buffer holds, an urgent byte too; it stays queued.
/// Does not wait. Returns as recv(2) does.
ssize_t peek_queued(int fd, std::span<std::uint8_t> buffer);
/// Takes this many bytes, which were peeked, from the queue. `scratch` has at least as many, and
/// gets what it may. False, with errno: they are not all there.
bool drop_queued(int fd, std::size_t bytes, std::span<std::uint8_t> scratch);

/// Binds the socket to this local address, without a port: the kernel chooses one at the connect,
/// which may be in use towards other peers (IP_BIND_ADDRESS_NO_PORT, ip(7)). False, with errno.
bool bind_source(int fd, const IpAddress& source);

/// Bytes written to the socket that its peer has not acknowledged yet (SIOCOUTQ, tcp(7)).
std::uint32_t send_queue_bytes(int fd);

/// Makes the coming close(2) send a RST and drop what is queued.
void reset_on_close(int fd);

}  // namespace mc::net
