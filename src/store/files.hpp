// SPDX-License-Identifier: Apache-2.0
#pragma once
// The files of a database: their names, their directory, and how a new one is made whole or not at
// all. Does not open a database: closing a file that a Connection of the same process also has open
// would drop its locks (fcntl(2)). Any thread.

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.hpp"
#include "base/owner.hpp"
#include "base/result.hpp"

namespace mc::store {

// The companions that SQLite puts beside a database: the write-ahead log, and its index, which is
// shared memory and worthless once nobody has the database open.
inline std::string wal_path(const std::string& path) { return path + "-wal"; }
inline std::string shm_path(const std::string& path) { return path + "-shm"; }
/// Ours; see LockFile.
inline std::string lock_path(const std::string& path) { return path + ".lock"; }
/// Where a write-ahead log of another database is moved; see wal_pairing.hpp.
inline std::string replaced_wal_path(const std::string& path) { return path + "-wal.replaced"; }

/// The path without symbolic links, so that a database has one name, and its companions are beside
/// the file and not beside a link. The file itself may be missing, its directory may not.
Result<std::string> resolve(const std::string& path);

/// Requires that files can be made in the directory of `path`: SQLite keeps its companions there.
Result<void> require_writable_directory(const std::string& path);

/// Requires that the file at `path` may be written to.
Result<void> require_writable_file(const std::string& path);

/// Why no user can write beside the file at `path` now: the file system is full or read-only.
/// Nothing where there is room.
std::optional<Error> lack_of_room(const std::string& path);

/// Where a volume that should hold the file at `path` seems not to be mounted: a mount point above
/// it in fstab(5) that is not mounted, or its directory, if it is otherwise empty. Empty: neither.
std::string missing_volume(const std::string& path);

/// What changes when a file is replaced or written to (stat(2)).
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;

  bool operator==(const FileStamp&) const = default;
  [[nodiscard]] bool is_same_file(const FileStamp& other) const {
    return device == other.device && inode == other.inode;
  }
  /// Whether it is that file, not written to since: its owner or mode may differ.
  [[nodiscard]] bool has_content_of(const FileStamp& other) const {
    return is_same_file(other) && size == other.size && modified_ns == other.modified_ns;
  }
};

/// Of the file at `path`, with links followed; zeros where there is none.
FileStamp stamp_of(const std::string& path);

/// Bytes of the file at `path`; 0 where there is none.
std::uint64_t file_bytes(const std::string& path);

/// Whether both names lead to one file, or would if it existed. Neither has symbolic links.
bool is_same_file(const std::string& a, const std::string& b);

/// Makes names that were created, renamed or removed in the directory of `path` durable.
Result<void> sync_directory_of(const std::string& path);

/// A file that is made under a temporary name and then appears, whole and durable, under its own.
/// Its mode is 0600 under any umask. Removed, with its rollback journal, if it was never published.
class NewFile {
 public:
  /// Creates an empty file in the directory of `path`.
  static Result<NewFile> create_for(const std::string& path);

  NewFile(NewFile&&) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  [[nodiscard]] const std::string& temporary_path() const { return temporary_path_; }

  /// Sets its owner; without this, it is this process's user.
  void give_to(Owner owner);

  /// Gives the file its name, replacing the file of that name. It must not be open in SQLite.
  Result<void> publish();

 private:
  NewFile(std::string path, std::string temporary_path, Fd file);

  std::string path_;
  std::string temporary_path_;
  /// Empty when published or moved from.
  Fd file_;
};

}  // namespace mc::store
