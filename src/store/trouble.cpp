// SPDX-License-Identifier: Apache-2.0
#include "store/trouble.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "base/quote.hpp"

namespace mc::store {
namespace {

constexpr std::string_view kNoRoom = "no room left to write";
constexpr std::string_view kMakeRoom =
    "free some space on its disk (or raise the quota or file size limit) and try again; what was "
    "committed before is safe";

constexpr std::string_view kLocked = "locked by another program";
constexpr std::string_view kUnlock =
    "close the program that uses it (a sqlite3 shell with an open transaction?) and try again";

std::unexpected<Error> fail_with_input_output(const std::string& path, const SqliteError& error) {
  const std::string cause =
      error.system_error == 0 ? "" : fmt::format(" ({})", std::strerror(error.system_error));
  return fail_with(path, fmt::format("{}{}", error.text, cause),
                   "check the disk and the kernel's log (dmesg)");
}

/// Whether the errno says more than the code of SQLite that comes with it.
bool speaks_for_itself(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::unexpected<Error> fail_with(const std::string& path, std::string_view problem,
                                 std::string_view remedy) {
  return fail(fmt::format("database {}: {}; {}", quote(path), problem, remedy));
}

std::unexpected<Error> fail_with_errno(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail_with(path, "there is no such file", "correct database.path");
    case EACCES:
    case EPERM:
      return fail_with(
          path, "permission denied",
          fmt::format("give it to the user that mc-proxy runs as: chown mc-proxy:mc-proxy {0}, "
                      "chmod 0600 {0}; check the directories above it too",
                      printable(path)));
    case EROFS:
      return fail_with(path, "its file system is read-only",
                       "mount it writable, or correct database.path");
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return fail_with(path, kNoRoom, kMakeRoom);
    case EMFILE:
    case ENFILE:
      return fail_with(path, std::strerror(error), "raise LimitNOFILE of the service");
    default:
      return fail_with(path, std::strerror(error), "check the file and the disk it is on");
  }
}

std::unexpected<Error> fail_with_directory(const std::string& path, const std::string& directory,
                                           int error) {
  const std::string shown = printable(directory);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail_with(path, fmt::format("there is no directory {}", quote(directory)),
                       fmt::format("create it: install -d -o mc-proxy -g mc-proxy -m 0750 {}, or "
                                   "correct the path",
                                   shown));
    case EACCES:
    case EPERM:
      return fail_with(
          path, fmt::format("permission denied in its directory {}", quote(directory)),
          fmt::format("files are created beside it, so give the directory to the user that "
                      "mc-proxy runs as: chown mc-proxy:mc-proxy {0}, chmod 0750 {0}",
                      shown));
    default:
      return fail_with_errno(path, error);
  }
}

std::unexpected<Error> fail_with_sqlite(const std::string& path, const SqliteError& error) {
  switch (error.primary_code()) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return fail_with_damage(path, error.text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return fail_with(path, kLocked, kUnlock);
    case SQLITE_FULL:
      return fail_with(path, kNoRoom, kMakeRoom);
    case SQLITE_READONLY:
      if (error.code == SQLITE_READONLY_ROLLBACK) {
        return fail_with(
            path, "another program was interrupted while it changed the file",
            fmt::format("undo the unfinished change: sqlite3 {} \"PRAGMA quick_check;\"",
                        printable(path)));
      }
      return fail_with_errno(path, error.system_error == EROFS ? EROFS : EACCES);
    case SQLITE_NOMEM:
      return fail_with(path, "out of memory", "give the service more (MemoryMax)");
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      if (speaks_for_itself(error.system_error)) return fail_with_errno(path, error.system_error);
      return fail_with_input_output(path, error);
    default:
      return fail_with(path, fmt::format("{} (SQLite code {})", printable(error.text), error.code),
                       "this is not expected: please report it");
  }
}

std::unexpected<Error> fail_with_damage(const std::string& path, std::string_view finding) {
  const std::string shown = printable(path);
  return fail_with(
      path, fmt::format("damaged ({})", printable(finding)),
      fmt::format("nothing was changed; with the service stopped, look with: sqlite3 {} \"PRAGMA "
                  "integrity_check;\", then restore the latest backup (cp BACKUP {}), or remove "
                  "the file to start over from the configuration",
                  shown, shown));
}

Trouble trouble_of(const SqliteError& error) {
  switch (error.primary_code()) {
    case SQLITE_FULL:
      return Trouble::kNoRoom;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Trouble::kLocked;
    default:
      break;
  }
  const int cause = error.system_error;
  const bool has_no_room = cause == ENOSPC || cause == EDQUOT || cause == EFBIG;
  return has_no_room ? Trouble::kNoRoom : Trouble::kOther;
}

bool is_damage(const SqliteError& error) {
  return error.primary_code() == SQLITE_CORRUPT || error.primary_code() == SQLITE_NOTADB;
}

}  // namespace mc::store
