// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.hpp"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/quote.hpp"
#include "store/files.hpp"
#include "store/trouble.hpp"

namespace mc::store {
namespace {

Result<void> require_usable(const std::string& destination, const std::string& path) {
  for (const std::string& taken :
       {path, wal_path(path), shm_path(path), lock_path(path), replaced_wal_path(path)}) {
    if (is_same_file(destination, taken)) {
      return fail_with(path, fmt::format("a snapshot to {} would replace it", quote(destination)),
                       "choose another file");
    }
  }
  struct stat status{};
  if (::stat(destination.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return fail_with(destination, "it exists and is not a regular file", "choose another name");
  }
  return {};
}

// VACUUM INTO, not the backup API. It reads one state however long it takes; the API starts over
// whenever another connection commits. Its copy uses no log and has no unused page. It is built
// anew from the rows, so that damage to the source shows.
SqliteResult<void> vacuum_into(const std::string& path, Access access, const std::string& target) {
  auto connection = Connection::open(path, access);
  if (!connection) return std::unexpected(connection.error());
  auto statement = connection->prepare("VACUUM main INTO ?1");
  if (!statement) return std::unexpected(statement.error());
  return statement->run(target);
}

/// Which of the two files an error of the copying is about.
const std::string& culprit(const SqliteError& error, const std::string& path,
                           const std::string& destination) {
  const bool is_source = is_damage(error) || error.primary_code() == SQLITE_BUSY ||
                         error.primary_code() == SQLITE_CANTOPEN || error.code == SQLITE_IOERR_READ;
  return is_source ? path : destination;
}

Result<void> require_integrity(const std::string& copy, const std::string& destination) {
  auto connection = Connection::open(copy, Access::kMainFileOnly);
  if (!connection) return fail_with_sqlite(destination, connection.error());
  const auto finding = connection->query_text("PRAGMA integrity_check(1)");
  if (!finding) return fail_with_sqlite(destination, finding.error());
  if (*finding == "ok") return {};
  return fail_with(destination, fmt::format("the copy is damaged ({})", printable(*finding)),
                   "it was removed; check the disk and the kernel's log (dmesg)");
}

}  // namespace

Result<void> copy_database(const std::string& path, Access access, const std::string& destination) {
  const auto target = resolve(destination);
  if (!target) return std::unexpected(target.error());
  if (auto usable = require_usable(*target, path); !usable) return usable;

  auto file = NewFile::create_for(*target);
  if (!file) return std::unexpected(file.error());
  const auto copied = vacuum_into(path, access, file->temporary_path());
  if (!copied) return fail_with_sqlite(culprit(copied.error(), path, *target), copied.error());
  if (auto sound = require_integrity(file->temporary_path(), *target); !sound) return sound;
  return file->publish();
}

}  // namespace mc::store
