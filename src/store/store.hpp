// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps the routes, pools and firewall rules across restarts, in SQLite. Records are what the
// caller has validated; the store does not interpret them. A commit is durable when it returns: its
// transaction is in the write-ahead log, and the log is synced (synchronous=FULL). Within about a
// second checkpoint() copies its pages to the database file, so that file is complete nearly all
// the time, and the log is short.
//
// One thread at a time uses a Store, under the control plane's lock. Only snapshot() and
// audit_after() may run at the same time as any other function.

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "policy/pool.hpp"
#include "policy/route.hpp"
#include "store/files.hpp"
#include "store/lock_file.hpp"
#include "store/sqlite.hpp"

namespace mc::store {

/// The number of commits of a database; an empty one has 0.
using Revision = std::uint64_t;

struct RouteRecord {
  /// As configured, such as ":443".
  std::string listener;
  policy::RouteText text;

  bool operator==(const RouteRecord&) const = default;
};

/// Identifies a record: there is at most one for each listener, host name and match. A match is
/// compared as text, so it must be in normal form.
struct RouteRecordKey {
  std::string listener;
  std::string hostname;
  policy::RouteMatchText match = {};

  bool operator==(const RouteRecordKey&) const = default;
};

struct FirewallRule {
  std::string type;
  std::string value;

  bool operator==(const FirewallRule&) const = default;
};

/// A pool with its backends.
using PoolRecord = policy::PoolText;

/// The last good answer of DNS for a name: addresses with spaces between them.
struct ResolvedRecord {
  std::string name;
  std::string addresses;
  std::chrono::sys_time<std::chrono::milliseconds> time;

  bool operator==(const ResolvedRecord&) const = default;
};

struct Contents {
  Revision revision = 0;
  /// Ordered by listener, hostname, alpn and sources, bytewise.
  std::vector<RouteRecord> routes;
  /// Ordered by type, then value, bytewise.
  std::vector<FirewallRule> rules;
  /// Ordered by name, bytewise; the backends as they were put.
  std::vector<PoolRecord> pools;
  /// Ordered by name.
  std::vector<ResolvedRecord> resolved;
};

/// Answers that replace those of their names, after some names were removed.
struct ResolvedChanges {
  std::vector<std::string> removed;
  std::vector<ResolvedRecord> put;
};

/// What a commit changes: it removes first, then puts. Removing a missing record and putting an
/// existing one change nothing; a route that is put replaces the one with its key, and a pool the
/// one with its name and all of its backends.
struct ChangeSet {
  std::vector<RouteRecordKey> removed_routes;
  std::vector<RouteRecord> put_routes;
  std::vector<FirewallRule> removed_rules;
  std::vector<FirewallRule> put_rules;
  std::vector<std::string> removed_pools;
  std::vector<PoolRecord> put_pools;
};

/// Who did what, and when. The last kAuditEntriesMax are kept; long texts are cut.
struct AuditEntry {
  std::chrono::sys_time<std::chrono::milliseconds> time;
  std::string who;
  std::string action;
  std::string detail;
};

/// A row of the audit table: the entry of a commit, and the revision that the commit made.
struct AuditRecord {
  Revision revision = 0;
  AuditEntry entry;
};

/// Why a commit was refused, for callers that treat the reasons differently.
enum class Trouble : std::uint8_t {
  kNoRoom,    // the disk is full
  kLocked,    // another program has locked the database, for now
  kReplaced,  // another program replaced or changed the file; lasts until the server restarts
  kOther,
};

struct CommitError {
  Trouble trouble;
  std::string message;  // as in Error
};

/// The database of a server. No other server can open it while this one has it open.
class Store {
 public:
  /// Opens the database at `path`, or creates it (mode 0600). Errors name what is wrong with the
  /// file and the remedy, and leave the file as it was.
  static Result<std::unique_ptr<Store>> open(const std::string& path);

  /// Reads the database at `path`, which a server may have open; or returns the error that open()
  /// would return. Without a database, revision 0. Changes nothing; needs write permission for the
  /// directory, unless no user can write there.
  static Result<Contents> inspect(const std::string& path);

  /// Why no user can write to the database at `path` now; see lack_of_room().
  static std::optional<Error> cannot_be_written(const std::string& path);

  /// Where the volume of a new database seems not to be mounted; see missing_volume(). Empty: the
  /// database is not new, or no volume seems to be missing.
  [[nodiscard]] const std::string& volume_missed() const { return volume_missed_; }

  /// The process of the server that has the database at `path` open; 0 if there is none, or if it
  /// is not visible. Does not block that process.
  static pid_t holder(const std::string& path);

  /// Copies the log to the database file and removes the log. If another program replaced or
  /// changed the file, leaves the file as it is, and renames the log (replaced_wal_path()).
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Whether nothing was ever committed, so that the configuration's routes, pools and rules are to
  /// be its first. A database whose last route was removed is not fresh.
  [[nodiscard]] bool fresh() const { return revision_ == 0; }
  [[nodiscard]] Revision revision() const { return revision_; }

  /// What the operator should know about open(), to be logged as warnings.
  [[nodiscard]] const std::vector<std::string>& notices() const { return notices_; }

  Result<Contents> load();

  /// Makes all of the changes and the audit entry durable as one new revision, and returns it.
  /// After an error nothing is changed, and the next commit may succeed.
  std::expected<Revision, CommitError> commit(const ChangeSet& changes, const AuditEntry& entry);

  /// Keeps answers of DNS, durably: no revision, no audit entry. Fails, to be tried again, while a
  /// reader keeps earlier commits in the log.
  Result<void> put_resolved(const ResolvedChanges& changes);

  /// Copies the commits since the last call to the database file. To be called about once a second,
  /// and not in each commit: it waits for the disk three times, which takes too long under full
  /// traffic.
  void checkpoint();

  /// Whether the files are as this store left them: no other program removed, replaced or wrote to
  /// one. commit() and checkpoint() check this first. It can become true again: a file that was
  /// moved away can be put back.
  [[nodiscard]] bool is_undisturbed();

  /// Copies the current database to `destination`, which gets a complete file or none. Any thread,
  /// also during a commit. Takes about 40 ms for 100,000 routes.
  Result<void> snapshot(const std::string& destination) const;

  /// The same for a database that this process does not have open; a server may. Changes nothing;
  /// needs write permission for the database's directory, as every reader does.
  static Result<void> snapshot_file(const std::string& path, const std::string& destination);

  /// The audit entries of the database at `path` after this revision: the oldest `most` of them, in
  /// order. Entries beyond kAuditEntriesMax are gone. Any thread, also during a commit.
  static Result<std::vector<AuditRecord>> audit_after(const std::string& path, Revision revision,
                                                      std::size_t most);

 private:
  struct Statements;

  Store(std::string path, LockFile lock, Connection connection);

  SqliteResult<void> take_over();
  SqliteResult<void> begin_incarnation();
  /// The new incarnation, which is in the database but not in force yet.
  SqliteResult<std::string> write_incarnation();
  /// Records the state of the files after a write of this store.
  void remember_files();
  /// Whether the files are ours (as this store left them, or changed in a harmless way) or foreign;
  /// unknown if descriptors or memory are missing now.
  enum class Files : std::uint8_t { kOurs, kForeign, kUnknown };
  [[nodiscard]] Files look_at_files();
  [[nodiscard]] Files judge_changed_files();
  /// False if the database was not at our revision: then the transaction must not be committed.
  SqliteResult<bool> write(const ChangeSet& changes, const AuditEntry& entry);

  const std::string path_;
  const LockFile lock_;  // released last
  Connection connection_;
  std::unique_ptr<Statements> statements_;  // destroyed before their connection
  std::vector<std::string> notices_;
  std::string volume_missed_;
  Revision revision_ = 0;
  int commits_in_log_ = 0;  // not yet copied to the main file

  // State of the files after our last write. Only checkpoints write to the main file, and only
  // commits to the log: any other change is another program's.
  FileStamp main_file_, log_file_;
  Connection::FirstBytes header_{};
  bool has_lost_commit_ = false;  // the log holds a commit that was refused

  // The newest state that is known to be wholly in the main file; see wal_pairing.cpp.
  std::string incarnation_;
  std::string base_incarnation_;
  Revision base_revision_ = 0;
};

}  // namespace mc::store
