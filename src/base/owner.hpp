// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whose the files are that a server makes. One that root starts by hand must not leave any that the
// service's user cannot use: a killed server removes nothing. Any thread.

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>

namespace mc {

struct Owner {
  uid_t user = 0;
  gid_t group = 0;
};

/// For whom a process of root makes a file beside the one at `path`: its owner, or the owner of the
/// directory while there is no such file. Nothing for other users, who can give nothing away, and
/// where there is no directory.
std::optional<Owner> owner_beside(const std::string& path);

/// Gives the Unix socket at `path`, which this process has just made, to `owner`. Whatever else may
/// be there by now, such as a link to another file, stays as it is. Where it fails, the next
/// server says so.
void give_socket(const std::string& path, Owner owner);

/// The most memory for the system's entry of a user, of which the name is wanted.
inline constexpr std::size_t kUserEntryBytesMax = std::size_t{64} * 1024;

/// The name of a user, made printable; empty where the system knows none.
std::string user_name(uid_t uid);

/// The same for a message: "mc-proxy", or "uid 123" where there is none.
std::string user_text(uid_t uid);

}  // namespace mc
