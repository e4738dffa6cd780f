// SPDX-License-Identifier: Apache-2.0
#include "store/lock_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "base/owner.hpp"
#include "store/files.hpp"
#include "store/trouble.hpp"

namespace mc::store {
namespace {

/// The pid that the holder has written; nothing if it has not yet.
std::optional<pid_t> written_holder(const Fd& file) {
  char text[16] = {};
  const ssize_t size = ::pread(file.get(), text, sizeof(text), 0);
  pid_t pid = 0;
  if (size <= 0 || std::from_chars(text, text + size, pid).ec != std::errc()) return std::nullopt;
  return pid;
}

/// The pid is for people: an error, such as a full disk, does not matter.
void write_holder(const Fd& file) {
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(file.get(), 0) != 0) return;
  [[maybe_unused]] const auto ignored = ::pwrite(file.get(), text.data(), text.size(), 0);
}

/// For the next server, which may run as another user: one that root starts by hand gives the file
/// to the owner of the database, as SQLite does with its companions, or of the directory where
/// there is no database yet. If that fails, the next server reports it.
void take_care_of_access(const std::string& path, const Fd& file) {
  if (const auto owner = owner_beside(path)) {
    [[maybe_unused]] const auto ignored = ::fchown(file.get(), owner->user, owner->group);
  }
  [[maybe_unused]] const auto ignored = ::fchmod(file.get(), 0600);  // whatever the umask
}

std::unexpected<Error> fail_locked(const std::string& path, const Fd& file) {
  const auto pid = written_holder(file);
  return fail_with(path,
                   fmt::format("in use by another mc-proxy server{}",
                               pid ? fmt::format(" (pid {})", *pid) : std::string()),
                   "stop that one first, or give this one another database.path");
}

}  // namespace

Result<LockFile> LockFile::acquire(const std::string& path) {
  const std::string name = lock_path(path);
  Fd file(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!file) return fail_with_errno(name, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail_locked(path, file);
    return fail_with_errno(name, errno);
  }
  take_care_of_access(path, file);
  write_holder(file);
  return LockFile(std::move(file));
}

pid_t LockFile::holder(const std::string& path) {
  const Fd lock(::open(lock_path(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat found{};
  if (!lock || ::fstat(lock.get(), &found) != 0) return 0;
  // "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF". The device is not compared: some file
  // systems show another number there. So the inode may also be that of a file elsewhere.
  const std::string number = fmt::format(":{} 0 EOF", found.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    int pid = 0;
    if (!line.ends_with(number) ||
        std::sscanf(line.c_str(), "%*d: FLOCK %*s WRITE %d", &pid) != 1) {
      continue;
    }
    const bool is_held = ::flock(lock.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    return is_held ? pid : 0;
  }
  return 0;
}

}  // namespace mc::store
