// SPDX-License-Identifier: Apache-2.0
#include "store/wal_pairing.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "store/files.hpp"
#include "store/trouble.hpp"

// How a log and its main file are recognised as a pair
//
// SQLite applies any log that stands beside a database: the log of a lost database would undo a
// restore, or damage what was restored. So each log names the main file that it continues:
//
//  - Each time a server opens the database, it writes a new random `incarnation` to the row
//    `state`, as does every commit. So the log has its incarnation, and the main file has the one
//    of its last write.
//  - Each commit also writes its `base`: the incarnation and revision that are known to be wholly
//    in the main file. The main file of a log is at its base, or between the base and the log's
//    own revision.
//
// This shows for a backup, however it was made, that a log is not its own. A snapshot, or any
// VACUUM INTO, has a header without WAL mode. A copy of a stopped server's file has another
// incarnation. A copy that `sqlite3 .backup` or `cp` took of a running server's file is older than
// the log's base, which advances every second. One case is left: such a copy, if the server was
// killed within a second after it, or while a long reader held the base back. Then the commits
// since the copy come back with it.

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
  // A database enters WAL mode before it has a log, and leaves it only once its log is gone.
  if (!header.uses_wal) return WalOrigin::kForeign;

  // The log first: if a running server makes a checkpoint in between, the main file is still not
  // older than the base that was read from the log.
  const auto with_log = read_state_of(path, Access::kReadOnly);
  if (!with_log && !is_nonsense(with_log.error())) return fail_with_sqlite(path, with_log.error());
  const auto alone = read_state_alone(path);
  if (!alone) return WalOrigin::kOwn;
  return with_log && continues(*with_log, *alone) ? WalOrigin::kOwn : WalOrigin::kForeign;
}

Result<void> set_wal_aside(const std::string& path) {
  const std::string aside = replaced_wal_path(path);
  if (::rename(wal_path(path).c_str(), aside.c_str()) != 0) return fail_with_errno(aside, errno);
  // The index describes only this log. Processes that have the old files open keep both.
  ::unlink(shm_path(path).c_str());
  return sync_directory_of(path);
}

}  // namespace mc::store
