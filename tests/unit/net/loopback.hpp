// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sockets on this machine's loopback, made without what is tested.

#include <sys/socket.h>

#include "base/fd.hpp"
#include "net/socket_address.hpp"
#include "support/catch.hpp"

namespace mc::test {

/// Where a socket is bound: the port too, if the kernel has chosen it.
inline SocketAddress address_of(const Fd& fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::kCapacity;
  REQUIRE(::getsockname(fd.get(), address.data(), &size) == 0);
  return address;
}

/// Listens on a port of 127.0.0.1 that the kernel chooses.
inline Fd listening_socket(int backlog = 64) {
  const SocketAddress address = *SocketAddress::parse_listen("127.0.0.1:0");
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(fd.get(), address.data(), address.size()) == 0);
  REQUIRE(::listen(fd.get(), backlog) == 0);
  return fd;
}

}  // namespace mc::test
