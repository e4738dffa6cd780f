// SPDX-License-Identifier: Apache-2.0
#pragma once
// The routes and firewall rules as they survive a restart, in SQLite. Records are text that its
// owner has validated; what they mean is none of the store's business. A commit is durable when it
// returns: its transaction is in the write-ahead log, and the log is synced (synchronous=FULL),
// before anybody is told. Within a second or so its pages move on to the database file
// (checkpoint()), which so is complete nearly all the time and the log short.
//
// A Store belongs to one thread at a time; the control plane's lock is above it. snapshot() and
// audit_after() alone may run beside everything else.

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
#include "policy/route.hpp"
#include "store/files.hpp"
#include "store/lock_file.hpp"
#include "store/sqlite.hpp"

namespace mc::store {

/// Counts the commits of a database: the empty one is 0.
using Revision = std::uint64_t;

struct RouteRecord {
  /// As configured, such as ":443".
  std::string listener;
  policy::RouteText text;

  bool operator==(const RouteRecord&) const = default;
};

/// Which record: there is at most one for a listener and host name.
struct RouteRecordKey {
  std::string listener;
  std::string hostname;

  bool operator==(const RouteRecordKey&) const = default;
};

struct FirewallRule {
  std::string type;
  std::string value;

  bool operator==(const FirewallRule&) const = default;
};

struct Contents {
  Revision revision = 0;
  /// In the order of listener and hostname, bytewise.
  std::vector<RouteRecord> routes;
  /// In the order of type and value, bytewise.
  std::vector<FirewallRule> rules;
};

/// What a commit changes: removals first, then what is put. Removing what is not there and putting
/// what is there already changes nothing; a route that is put replaces the one with its key.
struct ChangeSet {
  std::vector<RouteRecordKey> removed_routes;
  std::vector<RouteRecord> put_routes;
  std::vector<FirewallRule> removed_rules;
  std::vector<FirewallRule> put_rules;
};

/// Who did what when. Kept for the last kAuditEntriesMax commits; long texts are cut.
struct AuditEntry {
  std::chrono::sys_time<std::chrono::milliseconds> time;
  std::string who;
  std::string action;
  std::string detail;
};

/// What the audit table keeps of a commit: the entry, and the revision that it made.
struct AuditRecord {
  Revision revision = 0;
  AuditEntry entry;
};

/// Why a commit was refused, for whoever treats one reason otherwise than another.
enum class Trouble : std::uint8_t {
  kNoRoom,    // on the disk
  kLocked,    // by another program, for the moment
  kReplaced,  // the file, or what is in it, by another program: until the server restarts
  kOther,
};

struct CommitError {
  Trouble trouble;
  std::string message;  // as in Error
};

/// The database of a server, which no other server can open meanwhile.
class Store {
 public:
  /// Opens the database at `path`, or makes one (mode 0600) where there is none. Errors say what is
  /// wrong with the file and what to do, and leave it as it was.
  static Result<std::unique_ptr<Store>> open(const std::string& path);

  /// What is in the database at `path`, whether a server has it open or not, or what would keep a
  /// server from opening it. Nothing yet: revision 0. Changes nothing; needs to be allowed to write
  /// in the directory, unless nobody can.
  static Result<Contents> inspect(const std::string& path);

  /// Why nobody can write to the database at `path` now; see lack_of_room().
  static std::optional<Error> cannot_be_written(const std::string& path);

  /// Where the volume of a new database seems not to be mounted; see missing_volume(). Empty: it is
  /// not new, or nothing points to that.
  [[nodiscard]] const std::string& volume_missed() const { return volume_missed_; }

  /// The process that has the database at `path` open as its server; 0 if there is none, or if it
  /// cannot be seen. It is not kept from anything by the question.
  static pid_t holder(const std::string& path);

  /// Moves the log to the database file and removes it. Where somebody replaced or changed the
  /// file, leaves it as it is, and sets the log aside.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Whether nothing was ever committed, so that the configuration's routes and rules go in. A
  /// database whose last route was removed is not fresh.
  [[nodiscard]] bool fresh() const { return revision_ == 0; }
  [[nodiscard]] Revision revision() const { return revision_; }

  /// What the operator should know of the opening, to be logged as warnings.
  [[nodiscard]] const std::vector<std::string>& notices() const { return notices_; }

  Result<Contents> load();

  /// Makes all of the changes durable, with the audit entry, as one new revision, which it returns.
  /// An error means that nothing was changed and that the next commit may work.
  std::expected<Revision, CommitError> commit(const ChangeSet& changes, const AuditEntry& entry);

  /// Moves what was committed to the database file, if anything was since the last time. To be
  /// called about once a second: it waits for the disk three times, which beside full traffic is
  /// too much for a commit.
  void checkpoint();

  /// Whether the files are still those that this store wrote, as commit() and checkpoint() ask
  /// first: none was removed or replaced, nobody wrote into them. May become true again: a file
  /// that was moved away can be put back.
  [[nodiscard]] bool is_undisturbed();

  /// Copies the database as it is now to `destination`, which gets a complete file or none. Any
  /// thread, while the owner commits. Takes some 40 ms for 100,000 routes.
  Result<void> snapshot(const std::string& destination) const;

  /// The same for a database that this process has not open, whether a server has or not. Changes
  /// nothing; needs to be allowed to write in the database's directory, as all readers are.
  static Result<void> snapshot_file(const std::string& path, const std::string& destination);

  /// The oldest `most` of the audit entries after this revision, in order, of the database at
  /// `path`. Those that are beyond kAuditEntriesMax are not there. Any thread, while whoever has it
  /// open commits.
  static Result<std::vector<AuditRecord>> audit_after(const std::string& path, Revision revision,
                                                      std::size_t most);

 private:
  struct Statements;

  Store(std::string path, LockFile lock, Connection connection);

  SqliteResult<void> take_over();
  SqliteResult<void> begin_incarnation();
  /// Takes note of the files as they are after a write of ours.
  void remember_files();
  /// Whose the files are: as they were left, or changed without harm; somebody else's; or unknown
  /// now, for want of descriptors or memory.
  enum class Files : std::uint8_t { kOurs, kForeign, kUnknown };
  [[nodiscard]] Files look_at_files();
  [[nodiscard]] Files judge_changed_files();
  /// Whether the database was at our revision, as it must be to be committed.
  SqliteResult<bool> write(const ChangeSet& changes, const AuditEntry& entry);

  const std::string path_;
  const LockFile lock_;  // given back last
  Connection connection_;
  std::unique_ptr<Statements> statements_;  // before their connection
  std::vector<std::string> notices_;
  std::string volume_missed_;
  Revision revision_ = 0;
  int commits_in_log_ = 0;  // that were not moved yet

  // After the last write of ours. Only a checkpoint writes to the main file, only a commit to the
  // log, so that any other change is somebody else's.
  FileStamp main_file_, log_file_;
  Connection::FirstBytes header_{};
  bool has_lost_commit_ = false;  // one that was refused is in the log

  // What the main file is known to have got as a whole; see wal_pairing.hpp.
  std::string incarnation_;
  std::string base_incarnation_;
  Revision base_revision_ = 0;
};

}  // namespace mc::store
