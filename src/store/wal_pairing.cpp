// SPDX-License-Identifier: Apache-2.0
#include "store/wal_pairing.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "store/files.hpp"
#include "store/trouble.hpp"

// How a log and its main file know each other
//
// SQLite rolls the pages of any log that stands beside a database into it: that of a lost database
// would undo a restore, or wreck what was restored. So each log tells which main file it continues:
//
//  - Each opening of the database by a server gives it a new random `incarnation`, in the row
//    `state`, which every commit writes. So a log knows its incarnation, and the main file knows
//    the one that it had when it was last written to.
//  - Each commit also writes the incarnation and revision that the main file is known to have got
//    as a whole, its `base`. The main file of a log is at its base, or between that and the log's
//    own revision.
//
// Whatever a backup was made with, one of these tells that the log is not its own. A snapshot, or
// any VACUUM INTO, says in its header that it uses no log. A copy of the file of a stopped server
// is of another incarnation. A copy that `sqlite3 .backup` or `cp` took of the file of a running
// server is older than the log's base, which moves with it every second. What is left is a copy of
// this last kind whose server was killed within a second after it, or while a long reader kept
// the base back: then the commits since the copy come back with it.

namespace mc::store {
namespace {

SqliteResult<State> read_state_of(const std::string& path, Access access) {
  auto connection = Connection::open(path, access);
  if (!connection) return std::unexpected(connection.error());
  return read_state(*connection);
}

bool continues(const State& log, const State& main_file) {
  const bool is_known =
      main_file.incarnation == log.incarnation || main_file.incarnation == log.base_incarnation;
  return is_known && main_file.revision >= log.base_revision;
}

}  // namespace

SqliteResult<State> read_state(Connection& connection) {
  auto select = connection.prepare(
      "SELECT revision, incarnation, base_incarnation, base_revision FROM state");
  if (!select) return std::unexpected(select.error());
  SqliteResult<State> state = std::unexpected(
      SqliteError{.code = SQLITE_DONE, .system_error = 0, .text = "the table state is empty"});
  const auto done = select->run_each([&](const Statement& row) {
    state = State{.revision = static_cast<std::uint64_t>(row.integer(0)),
                  .incarnation = std::string(row.text(1)),
                  .base_incarnation = std::string(row.text(2)),
                  .base_revision = static_cast<std::uint64_t>(row.integer(3))};
  });
  if (!done) return std::unexpected(done.error());
  return state;
}

SqliteResult<State> read_state_alone(const std::string& path) {
  return read_state_of(path, Access::kMainFileOnly);
}

bool is_nonsense(const SqliteError& error) {
  return is_damage(error) || error.primary_code() == SQLITE_ERROR ||
         error.primary_code() == SQLITE_DONE;
}

Result<WalOrigin> judge_wal(const std::string& path, const FileHeader& header) {
  if (file_bytes(wal_path(path)) == 0) return WalOrigin::kNone;
  // A database leaves this mode only once its log is gone, and enters it before it has one.
  if (!header.uses_wal) return WalOrigin::kForeign;

  // The log first. A running server may move its log in between, but then the main file is still
  // not older than the base that was read from the log.
  const auto with_log = read_state_of(path, Access::kReadOnly);
  if (!with_log && !is_nonsense(with_log.error())) return fail_with_sqlite(path, with_log.error());
  const auto alone = read_state_alone(path);
  if (!alone) return WalOrigin::kOwn;
  return with_log && continues(*with_log, *alone) ? WalOrigin::kOwn : WalOrigin::kForeign;
}

Result<void> set_wal_aside(const std::string& path) {
  const std::string aside = replaced_wal_path(path);
  if (::rename(wal_path(path).c_str(), aside.c_str()) != 0) return fail_with_errno(aside, errno);
  // The index describes this log only. Processes with the old files open keep both.
  ::unlink(shm_path(path).c_str());
  return sync_directory_of(path);
}

}  // namespace mc::store
