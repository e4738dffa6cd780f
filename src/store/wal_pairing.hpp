// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether the write-ahead log beside a database belongs to it. SQLite assumes that it does, and
// applies it; but after `kill -9` and `cp backup.db mc-proxy.db`, the RUNBOOK's restore, it is the
// log of the lost database. wal_pairing.cpp describes the pairing. One thread, before the database
// is opened for use.

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "store/file_header.hpp"
#include "store/sqlite.hpp"

namespace mc::store {

/// The row of the table `state`.
struct State {
  std::uint64_t revision = 0;
  std::string incarnation;
  std::string base_incarnation;
  std::uint64_t base_revision = 0;
};

SqliteResult<State> read_state(Connection& connection);
/// Reads the main file at `path` without its log.
SqliteResult<State> read_state_alone(const std::string& path);

/// Whether pages that do not belong together can cause the error; false for locks, disk and memory.
bool is_nonsense(const SqliteError& error);

enum class WalOrigin : std::uint8_t { kNone, kOwn, kForeign };

/// Reads the database at `path`, which has this header, and the log beside it, and changes neither.
/// If the main file cannot be read alone, the log is its own: a server that is killed during a
/// checkpoint leaves such a file.
Result<WalOrigin> judge_wal(const std::string& path, const FileHeader& header);

/// Renames the log beside the database to replaced_wal_path(), durably; replaces an earlier one.
Result<void> set_wal_aside(const std::string& path);

}  // namespace mc::store
