// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who owns the files that a server makes. A server that root starts by hand must not leave files
// that the service's user cannot use: a killed server removes nothing. Any thread.

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>

namespace mc {

struct Owner {
  uid_t user = 0;
  gid_t group = 0;
};

/// The owner to give to a file that a root process makes beside the one at `path`: that file's
/// owner, or the owner of the directory while there is no such file. Nothing for other users, who
/// cannot change owners, and where there is no directory.
std::optional<Owner> owner_beside(const std::string& path);

/// Gives the Unix socket at `path`, which this process has just made, to `owner`. Anything else
/// found there, such as a link to another file, is not changed. If it fails, the next server
/// reports it.
void give_socket(const std::string& path, Owner owner);

/// The most memory for the system's entry of a user, which has the name.
inline constexpr std::size_t kUserEntryBytesMax = std::size_t{64} * 1024;

/// The name of a user, made printable; empty where the system has none.
std::string user_name(uid_t uid);

/// The same for a message: "mc-proxy", or "uid 123" where there is none.
std::string user_text(uid_t uid);

}  // namespace mc
