// SPDX-License-Identifier: Apache-2.0
#pragma once
// The header of an SQLite database (https://sqlite.org/fileformat.html#1.3). Read before SQLite
// opens the file, which may already change it: SQLite would roll a write-ahead log into it that
// another mc-proxy, or another program, has left. Any thread.

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"

namespace mc::store {

struct FileHeader {
  std::uint32_t application_id = 0;
  /// The number of migrations that the schema has had.
  std::uint32_t user_version = 0;
  /// Whether the last writer of this file used a write-ahead log.
  bool uses_wal = false;
};

/// Nothing if there is no file. Errors: it is no SQLite database, or cannot be read. An empty file
/// is an error, although SQLite takes it for a new database: a copy that found the disk full leaves
/// one, and its owner does not want to start over.
Result<std::optional<FileHeader>> read_header(const std::string& path);

/// Requires that the file is a database of ours, and of a known version.
Result<void> require_ours(const std::string& path, const FileHeader& header);
Result<void> require_known_version(const std::string& path, std::uint32_t user_version);

}  // namespace mc::store
