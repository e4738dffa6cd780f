// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a server that has handed over, but still has connections, can be reached: a Unix socket
// beside the database, named after its process. The successor makes it and passes it with the last
// step of the hand-over, because a confined server cannot bind one. Any thread.

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace mc::lifecycle {

/// The path for the server with this process number.
std::string draining_path(const std::string& database_path, pid_t pid);

/// Listens there, with mode 0600, for the database's owner and root. Nothing, with errno, on
/// failure; EADDRINUSE: another server, in another process namespace, has the path.
Fd open_draining_place(const std::string& database_path, pid_t pid);

/// The path of what open_draining_place() has made, from the socket itself: a server in a process
/// namespace of its own has another number there. Empty if it is no such socket.
std::string path_of_draining_place(const std::string& database_path, const Fd& place);

/// A draining server whose socket is listened on.
struct DrainingPlace {
  pid_t pid = 0;  // 0: of another process namespace
  std::string path;
  std::chrono::system_clock::time_point since;  // the hand-over
};

/// All of them, the oldest first. Removes the sockets of killed servers.
std::vector<DrainingPlace> find_draining_places(const std::string& database_path);

/// A stream connection to one, non-blocking. Nothing, with errno, if it has ended, or its queue is
/// full (EAGAIN).
Fd connect_to(const DrainingPlace& place);

}  // namespace mc::lifecycle
