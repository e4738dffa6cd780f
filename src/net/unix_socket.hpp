// SPDX-License-Identifier: Apache-2.0
#pragma once
// Unix sockets (unix(7)). A path may have any length: one that an address cannot hold is reached
// through a descriptor of its directory. Any thread.

#include <sys/types.h>
#include <sys/un.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.hpp"

namespace mc::net {

/// The longest path that every program can connect to, in bytes.
inline constexpr std::size_t kUnixPathMax = sizeof(sockaddr_un::sun_path) - 1;

/// A socket with close-on-exec; `type` as for socket(2). A connect to a listener whose queue is
/// full fails with EAGAIN after `connect_wait`, rounded down to seconds; zero: it waits without
/// limit. Nothing, with errno, if there is none to be had.
Fd new_unix_socket(int type, std::chrono::milliseconds connect_wait = {});

/// False, with errno, if it is not connected.
bool connect_unix(int fd, const std::string& path);

/// Binds to a path where nothing is. The file has mode 0600 from its first moment. False, with
/// errno, if it is not bound.
bool bind_unix(int fd, const std::string& path);

/// A process at the other end, as it was when it connected or began to listen.
struct UnixPeer {
  uid_t uid = 0;
  pid_t pid = 0;
};
/// Nothing: the kernel does not name it (SO_PEERCRED).
std::optional<UnixPeer> peer_of(int fd);

/// The number of the socket, of any family, which no other has until the machine restarts
/// (SO_COOKIE); the same for all descriptors of it. 0: this is no socket.
std::uint64_t socket_cookie(int fd);

}  // namespace mc::net
