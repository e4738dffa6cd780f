// SPDX-License-Identifier: Apache-2.0
#include "store/file_header.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "store/schema.hpp"
#include "store/sqlite.hpp"
#include "store/trouble.hpp"

namespace mc::store {
namespace {

using Bytes = Connection::FirstBytes;

bool has_magic(const Bytes& bytes) {
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  return std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

/// A big-endian number.
std::uint32_t number_at(const Bytes& bytes, std::size_t offset) {
  return std::uint32_t{bytes[offset]} << 24 | std::uint32_t{bytes[offset + 1]} << 16 |
         std::uint32_t{bytes[offset + 2]} << 8 | std::uint32_t{bytes[offset + 3]};
}

SqliteResult<Bytes> read_first_bytes(const std::string& path) {
  auto connection = Connection::open(path, Access::kMainFileOnly);
  if (!connection) return std::unexpected(connection.error());
  return connection->first_bytes();
}

}  // namespace

Result<std::optional<FileHeader>> read_header(const std::string& path) {
  // Opens regular files only: a FIFO would hang the start.
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return std::nullopt;
    return fail_with_errno(path, errno);
  }
  if (!S_ISREG(status.st_mode)) return fail_with(path, "this is not a file", "correct the path");
  if (status.st_size == 0) return fail_with_damage(path, "the file is empty");

  const auto bytes = read_first_bytes(path);
  if (!bytes) return fail_with_sqlite(path, bytes.error());
  if (!has_magic(*bytes)) return fail_with_damage(path, "this is not a database");
  // 1: rollback journal, 2: write-ahead log. The byte at 18 is for writers, that at 19 for readers.
  return FileHeader{.application_id = number_at(*bytes, 68),
                    .user_version = number_at(*bytes, 60),
                    .uses_wal = (*bytes)[18] == 2 && (*bytes)[19] == 2};
}

Result<void> require_ours(const std::string& path, const FileHeader& header) {
  if (header.application_id == kApplicationId) {
    return require_known_version(path, header.user_version);
  }
  return fail_with(path, "an SQLite database of another application",
                   "nothing was changed; correct database.path, or move the file away to start "
                   "over from the configuration");
}

Result<void> require_known_version(const std::string& path, std::uint32_t user_version) {
  if (user_version <= migrations().size()) return {};
  return fail_with(path,
                   fmt::format("made by a newer mc-proxy (its schema is version {}, the last that "
                               "this one knows is {})",
                               user_version, migrations().size()),
                   "nothing was changed; install that version again, or restore a backup from "
                   "before it");
}

}  // namespace mc::store
