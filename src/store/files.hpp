// SPDX-License-Identifier: Apache-2.0
#pragma once
// The files of a database: their names, their directory, and how a new one comes into being whole
// or not at all. Nothing here opens a database: closing a file that a Connection of the same
// process has open, too, would drop its locks (fcntl(2)). Any thread.

#include <cstdint>
#include <string>

#include "base/fd.hpp"
#include "base/owner.hpp"
#include "base/result.hpp"

namespace mc::store {

// The companions that SQLite puts beside a database: the write-ahead log, and its index, which is
// shared memory and worth nothing once nobody has the database open.
inline std::string wal_path(const std::string& path) { return path + "-wal"; }
inline std::string shm_path(const std::string& path) { return path + "-shm"; }
/// Ours; see LockFile.
inline std::string lock_path(const std::string& path) { return path + ".lock"; }
/// Where a write-ahead log goes that belongs to another database; see wal_pairing.hpp.
inline std::string replaced_wal_path(const std::string& path) { return path + "-wal.replaced"; }

/// The path without symbolic links, so that a database has one name, and its companions stand
/// beside the file and not beside a link. The file itself may be missing, its directory may not.
Result<std::string> resolve(const std::string& path);

/// That files can be made in the directory of `path`: SQLite keeps its companions there.
Result<void> require_writable_directory(const std::string& path);

/// That the file at `path` may be written to.
Result<void> require_writable_file(const std::string& path);

/// Bytes of the file at `path`; 0 where there is none.
std::uint64_t file_bytes(const std::string& path);

/// Whether both names lead to one file, or would if it existed. Both are without symbolic links.
bool is_same_file(const std::string& a, const std::string& b);

/// Makes names that were created, renamed or removed in the directory of `path` durable.
Result<void> sync_directory_of(const std::string& path);

/// A file that is made under a temporary name and then appears, whole and durable, under its own.
/// Its mode is 0600 whatever the umask. Removed, with its rollback journal, if it was never
/// published.
class NewFile {
 public:
  /// Creates an empty file in the directory of `path`.
  static Result<NewFile> create_for(const std::string& path);

  NewFile(NewFile&&) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  [[nodiscard]] const std::string& temporary_path() const { return temporary_path_; }

  /// Who owns it: else this process's user.
  void give_to(Owner owner);

  /// Gives the file its name, in place of what had it before. It must not be open in SQLite.
  Result<void> publish();

 private:
  NewFile(std::string path, std::string temporary_path, Fd file);

  std::string path_;
  std::string temporary_path_;
  /// Empty when published or moved from.
  Fd file_;
};

}  // namespace mc::store
