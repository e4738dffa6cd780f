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

/// Creates a socket with close-on-exec; `type` as for socket(2). If the listener's queue is full, a
/// connect fails with EAGAIN after `connect_wait`, rounded down to seconds; zero: it waits without
/// limit. On failure returns an empty Fd, with errno.
Fd new_unix_socket(int type, std::chrono::milliseconds connect_wait = {});

/// Connects to the path. False, with errno, on failure.
bool connect_unix(int fd, const std::string& path);

/// Binds to a path at which no file exists. The new file has mode 0600 from its first moment.
/// False, with errno, on failure.
bool bind_unix(int fd, const std::string& path);

/// The process at the other end, as of its connect or listen.
struct UnixPeer {
  uid_t uid = 0;
  pid_t pid = 0;
};
/// Nothing if the kernel does not know the peer (SO_PEERCRED).
std::optional<UnixPeer> peer_of(int fd);

/// The socket's number (SO_COOKIE), for any family: unique until the machine restarts, and the same
/// for all its descriptors. 0: not a socket.
std::uint64_t socket_cookie(int fd);

}  // namespace mc::net
