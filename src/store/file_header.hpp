// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an SQLite database says of itself in its first bytes
// (https://sqlite.org/fileformat.html#1.3). Looked at before SQLite opens the file in earnest,
// which may already change it: it would roll a write-ahead log into it that another mc-proxy, or
// another program altogether, has left. Any thread.

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"

namespace mc::store {

struct FileHeader {
  std::uint32_t application_id = 0;
  /// The number of migrations that the schema has seen.
  std::uint32_t user_version = 0;
  /// Whether whoever wrote this file last used a write-ahead log.
  bool uses_wal = false;
};

/// Nothing: there is no file. Errors: it is no SQLite database, or may not be read. An empty file
/// is an error, although SQLite takes it for a new database: it is what a copy leaves that found no
/// room, and starting over is not what its owner wants.
Result<std::optional<FileHeader>> read_header(const std::string& path);

/// That the file is a database of ours, and of a version that we know.
Result<void> require_ours(const std::string& path, const FileHeader& header);
Result<void> require_known_version(const std::string& path, std::uint32_t user_version);

}  // namespace mc::store
