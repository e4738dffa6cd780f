// SPDX-License-Identifier: Apache-2.0
#include "base/owner.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/fd.hpp"
#include "base/quote.hpp"

namespace mc {

std::optional<Owner> owner_beside(const std::string& path) {
  if (::geteuid() != 0) return std::nullopt;
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) {
    const std::string directory = std::filesystem::path(path).parent_path();
    if (::stat(directory.empty() ? "." : directory.c_str(), &found) != 0) return std::nullopt;
  }
  return Owner{.user = found.st_uid, .group = found.st_gid};
}

void give_socket(const std::string& path, Owner owner) {
  // The owner of the directory could replace the file at any moment, so one descriptor serves both
  // the check and the chown.
  const Fd socket(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat found{};
  if (!socket || ::fstat(socket.get(), &found) != 0) return;
  if (!S_ISSOCK(found.st_mode) || found.st_nlink != 1 || found.st_uid != ::geteuid()) return;
  static_cast<void>(::fchownat(socket.get(), "", owner.user, owner.group, AT_EMPTY_PATH));
}

std::string user_name(uid_t uid) {
  std::vector<char> buffer(1024);
  for (;;) {
    passwd entry{};
    passwd* found = nullptr;
    const int error = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
    if (error == 0) return found != nullptr ? printable(entry.pw_name) : "";
    if (error != ERANGE || buffer.size() >= kUserEntryBytesMax) return "";
    buffer.resize(buffer.size() * 2);
  }
}

std::string user_text(uid_t uid) {
  std::string name = user_name(uid);
  return name.empty() ? fmt::format("uid {}", uid) : name;
}

}  // namespace mc
