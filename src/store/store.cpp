// SPDX-License-Identifier: Apache-2.0
#include "store/store.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/owner.hpp"
#include "base/quote.hpp"
#include "store/file_header.hpp"
#include "store/files.hpp"
#include "store/limits.hpp"
#include "store/pool_records.hpp"
#include "store/resolved_records.hpp"
#include "store/schema.hpp"
#include "store/snapshot.hpp"
#include "store/trouble.hpp"
#include "store/wal_pairing.hpp"

namespace mc::store {
namespace {

std::string audit_text(std::string_view text) {
  const std::string_view kept = utf8_prefix(text, kAuditTextBytesMax);
  return std::string(kept) + (kept.size() < text.size() ? "..." : "");
}

/// A new database gets its name only once it has its tables, so an interrupted start leaves no
/// incomplete one.
Result<void> create_database(const std::string& path) {
  auto file = NewFile::create_for(path);
  if (!file) return std::unexpected(file.error());
  // SQLite gives the log and its index the database's owner.
  if (const auto owner = owner_beside(path)) file->give_to(*owner);
  {
    auto connection = Connection::open(file->temporary_path(), Access::kReadWrite);
    if (!connection) return fail_with_sqlite(path, connection.error());
    const auto marked =
        connection->execute(fmt::format("PRAGMA application_id = {}", kApplicationId));
    if (!marked) return fail_with_sqlite(path, marked.error());
    const auto made = migrate(*connection, migrations());
    if (!made) return fail_with_sqlite(path, made.error());
  }
  return file->publish();
}

/// Renames a write-ahead log that belongs to another database, so that SQLite does not find it.
/// Returns whether there was one.
Result<bool> keep_foreign_wal_out(const std::string& path,
                                  const std::optional<FileHeader>& header) {
  WalOrigin origin = file_bytes(wal_path(path)) == 0 ? WalOrigin::kNone : WalOrigin::kForeign;
  if (header) {
    const auto judged = judge_wal(path, *header);
    if (!judged) return std::unexpected(judged.error());
    origin = *judged;
  }
  if (origin != WalOrigin::kForeign) return false;
  if (auto done = set_wal_aside(path); !done) return std::unexpected(done.error());
  return true;
}

/// Requires that the database, with its log, is whole and not of a newer version. Opens it
/// read-only, so that a damaged file stays as it is: a connection that may write would checkpoint
/// when it closes.
Result<void> examine(const std::string& path, Access access) {
  auto connection = Connection::open(path, access);
  if (!connection) return fail_with_sqlite(path, connection.error());
  const auto version = connection->query_integer("PRAGMA user_version");
  if (!version) return fail_with_sqlite(path, version.error());
  // The header was checked, but the log may hold a newer version number.
  const auto known = require_known_version(path, static_cast<std::uint32_t>(*version));
  if (!known) return known;
  // Not quick_check: it checks neither order nor NOT NULL, and a file that was copied over another
  // while a server wrote violates those.
  const auto finding = connection->query_text("PRAGMA integrity_check(1)");
  if (!finding) return fail_with_sqlite(path, finding.error());
  if (*finding != "ok") return fail_with_damage(path, *finding);
  return {};
}

Result<void> use_wal(const std::string& path, Connection& connection) {
  const auto mode = connection.query_text("PRAGMA journal_mode");
  if (!mode) return fail_with_sqlite(path, mode.error());
  if (*mode == "wal") return {};
  // A new database, or a restored snapshot. The change of mode is a transaction on the first sector
  // of the file, which is written whole or not at all, so it needs no rollback journal on disk. A
  // journal that a crash left there would damage the next restore, as a foreign log would.
  const auto quiet = connection.execute("PRAGMA journal_mode = MEMORY");
  if (!quiet) return fail_with_sqlite(path, quiet.error());
  const auto changed = connection.query_text("PRAGMA journal_mode = WAL");
  if (!changed) return fail_with_sqlite(path, changed.error());
  if (*changed == "wal") return {};
  return fail_with(path, "its file system has no shared memory, which a write-ahead log needs",
                   "keep the database on a local disk");
}

Result<Connection> connect(const std::string& path) {
  auto connection = Connection::open(path, Access::kReadWrite);
  if (!connection) return fail_with_sqlite(path, connection.error());
  if (auto done = use_wal(path, *connection); !done) return std::unexpected(done.error());
  // checkpoint() copies the log to the main file, outside of commits. SQLite would do it every
  // 1,000 pages, and within a commit. Temporary files are in memory: Landlock forbids them in /tmp.
  const auto set = connection->execute(fmt::format(
      "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
      "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {};"
      "PRAGMA cache_size = -{}",
      kWalBytesKept, kPageCacheKib));
  if (!set) return fail_with_sqlite(path, set.error());
  const auto migrated = migrate(*connection, migrations());
  if (!migrated) return fail_with_sqlite(path, migrated.error());
  return *std::move(connection);
}

// How the column `sources` has them.
std::string joined(const std::vector<std::string>& sources) {
  return fmt::format("{}", fmt::join(sources, ","));
}

std::vector<std::string> split(std::string_view sources) {
  std::vector<std::string> texts;
  while (!sources.empty()) {
    const std::size_t size = std::min(sources.find(','), sources.size());
    texts.emplace_back(sources.substr(0, size));
    sources.remove_prefix(std::min(size + 1, sources.size()));
  }
  return texts;
}

// A database of an older version, which is only read, lacks some columns.
SqliteResult<void> read_routes(Connection& connection, Contents& contents) {
  auto routes = connection.prepare(
      fmt::format("SELECT listener, hostname, backend, {}, {} FROM routes "
                  "ORDER BY listener, hostname, alpn, sources",
                  has_version(connection, kVersionWithPools) ? "pool" : "''",
                  has_version(connection, kVersionWithMatches) ? "alpn, sources"
                                                               : "'' AS alpn, '' AS sources"));
  if (!routes) return std::unexpected(routes.error());
  return routes->run_each([&](const Statement& row) {
    contents.routes.push_back(
        {.listener = std::string(row.text(0)),
         .text = {.hostname = std::string(row.text(1)),
                  .backend = std::string(row.text(2)),
                  .pool = std::string(row.text(3)),
                  .match = {.alpn = std::string(row.text(4)), .sources = split(row.text(5))}}});
  });
}

SqliteResult<void> read_rules(Connection& connection, Contents& contents) {
  auto rules = connection.prepare("SELECT type, value FROM firewall_rules ORDER BY type, value");
  if (!rules) return std::unexpected(rules.error());
  return rules->run_each([&](const Statement& row) {
    contents.rules.push_back({std::string(row.text(0)), std::string(row.text(1))});
  });
}

Result<Contents> read_contents(const std::string& path, Connection& connection) {
  auto transaction = Transaction::begin(connection, Transaction::Kind::kRead);
  if (!transaction) return fail_with_sqlite(path, transaction.error());
  Contents contents;
  const auto state = read_state(connection);
  if (!state) return fail_with_sqlite(path, state.error());
  contents.revision = state->revision;
  for (const auto read : {read_routes, read_rules}) {
    if (const auto done = read(connection, contents); !done) {
      return fail_with_sqlite(path, done.error());
    }
  }
  auto pools = read_pools(path, connection);
  if (!pools) return std::unexpected(pools.error());
  contents.pools = *std::move(pools);
  auto resolved = read_resolved(connection);
  if (!resolved) return fail_with_sqlite(path, resolved.error());
  contents.resolved = *std::move(resolved);
  return contents;
}

}  // namespace

/// Compiled once, because a batch runs the same few statements 100,000 times.
struct Store::Statements {
  Statement remove_route, put_route, remove_rule, put_rule, add_audit, prune_audit, set_state;
  PoolStatements pools;
  ResolvedStatements resolved;

  static SqliteResult<std::unique_ptr<Statements>> prepare(Connection& connection) {
    auto all = std::make_unique<Statements>();
    const std::pair<Statement*, std::string_view> each[] = {
        {&all->remove_route,
         "DELETE FROM routes WHERE listener = ?1 AND hostname = ?2 AND alpn = ?3 AND sources = ?4"},
        {&all->put_route,
         "INSERT INTO routes (listener, hostname, alpn, sources, backend, pool) "
         "VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
         "ON CONFLICT DO UPDATE SET backend = excluded.backend, pool = excluded.pool"},
        {&all->remove_rule, "DELETE FROM firewall_rules WHERE type = ?1 AND value = ?2"},
        {&all->put_rule,
         "INSERT INTO firewall_rules (type, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING"},
        {&all->add_audit,
         "INSERT INTO audit (time_unix_ms, revision, who, action, detail) "
         "VALUES (?1, ?2, ?3, ?4, ?5)"},
        {&all->prune_audit, "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1"},
        {&all->set_state,
         "UPDATE state SET revision = ?2, incarnation = ?3, base_incarnation = ?4, "
         "base_revision = ?5 WHERE revision = ?1"},
    };
    for (const auto& [statement, sql] : each) {
      auto prepared = connection.prepare(sql);
      if (!prepared) return std::unexpected(prepared.error());
      *statement = *std::move(prepared);
    }
    auto pools = PoolStatements::prepare(connection);
    if (!pools) return std::unexpected(pools.error());
    all->pools = *std::move(pools);
    auto resolved = ResolvedStatements::prepare(connection);
    if (!resolved) return std::unexpected(resolved.error());
    all->resolved = *std::move(resolved);
    return all;
  }
};

Store::Store(std::string path, LockFile lock, Connection connection)
    : path_(std::move(path)), lock_(std::move(lock)), connection_(std::move(connection)) {}

Store::~Store() {
  const Files files = look_at_files();
  if (files == Files::kOurs) return;
  connection_.leave_log_when_closed();
  if (files == Files::kUnknown) return;  // the next open() decides
  statements_.reset();
  {
    const Connection closed = std::move(connection_);
  }
  // Another program put this file here on purpose: it must not get the commits of the log. Without
  // a file the next open() decides.
  if (file_bytes(path_) > 0 && file_bytes(wal_path(path_)) > 0) {
    static_cast<void>(set_wal_aside(path_));
  }
}

Result<std::unique_ptr<Store>> Store::open(const std::string& path) {
  if (path.empty()) return fail("database.path is required");
  const auto place = resolve(path);
  if (!place) return std::unexpected(place.error());
  if (auto may = require_writable_directory(*place); !may) return std::unexpected(may.error());
  auto lock = LockFile::acquire(*place);
  if (!lock) return std::unexpected(lock.error());

  const auto header = read_header(*place);
  if (!header) return std::unexpected(header.error());
  if (*header) {
    if (auto ours = require_ours(*place, **header); !ours) return std::unexpected(ours.error());
    if (auto may = require_writable_file(*place); !may) return std::unexpected(may.error());
  }
  const auto found_foreign = keep_foreign_wal_out(*place, *header);
  if (!found_foreign) return std::unexpected(found_foreign.error());
  std::string volume_missed;
  if (!*header) {
    volume_missed = missing_volume(*place);
    if (auto made = create_database(*place); !made) return std::unexpected(made.error());
  }
  if (auto fit = examine(*place, Access::kReadOnly); !fit) return std::unexpected(fit.error());

  auto connection = connect(*place);
  if (!connection) return std::unexpected(connection.error());
  std::unique_ptr<Store> store(new Store(*place, *std::move(lock), *std::move(connection)));
  store->volume_missed_ = std::move(volume_missed);
  if (auto taken = store->take_over(); !taken) return fail_with_sqlite(*place, taken.error());
  if (*found_foreign) {
    store->notices_.push_back(
        fmt::format("database {}: the write-ahead log beside it belongs to another database (one "
                    "from before a restore, for example); moved it to {} and ignored it",
                    quote(*place), quote(replaced_wal_path(*place))));
  }
  return store;
}

SqliteResult<void> Store::take_over() {
  const auto is_moved = connection_.checkpoint(Connection::Checkpoint::kTruncate);
  if (!is_moved) return std::unexpected(is_moved.error());
  auto state = read_state(connection_);
  if (!state) return std::unexpected(state.error());
  revision_ = state->revision;
  incarnation_ = std::move(state->incarnation);
  base_incarnation_ = std::move(state->base_incarnation);
  base_revision_ = state->base_revision;

  auto statements = Statements::prepare(connection_);
  if (!statements) return std::unexpected(statements.error());
  statements_ = *std::move(statements);
  remember_files();
  // If a reader prevents the checkpoint, the log continues under the old incarnation.
  if (!*is_moved) return {};
  base_incarnation_ = incarnation_;
  base_revision_ = revision_;
  return begin_incarnation();
}

SqliteResult<void> Store::begin_incarnation() {
  auto incarnation = write_incarnation();
  if (!incarnation) return std::unexpected(incarnation.error());
  incarnation_ = *std::move(incarnation);
  remember_files();
  ++commits_in_log_;
  checkpoint();
  return {};
}

SqliteResult<std::string> Store::write_incarnation() {
  auto incarnation = connection_.query_text("SELECT lower(hex(randomblob(16)))");
  if (!incarnation) return incarnation;
  const auto revision = static_cast<std::int64_t>(revision_);
  const auto done = statements_->set_state.run(revision, revision, *incarnation, base_incarnation_,
                                               static_cast<std::int64_t>(base_revision_));
  if (!done) return std::unexpected(done.error());
  return incarnation;
}

void Store::remember_files() {
  main_file_ = stamp_of(path_);
  log_file_ = stamp_of(wal_path(path_));
  header_ = connection_.first_bytes().value_or(Connection::FirstBytes{});
}

bool Store::is_undisturbed() { return look_at_files() == Files::kOurs; }

// Compares the header's change counter too: time stamps are as coarse as the kernel's clock tick.
Store::Files Store::look_at_files() {
  if (has_lost_commit_) return Files::kForeign;
  const auto header = connection_.first_bytes();
  // Run by root, SQLite sets the log's owner at each opening, also for readers of the audit table:
  // that changes the log's ctime, and nothing else.
  if (stamp_of(path_) == main_file_ && stamp_of(wal_path(path_)).has_content_of(log_file_) &&
      header && *header == header_) {
    return Files::kOurs;
  }
  const Files files = judge_changed_files();
  if (files == Files::kOurs) remember_files();
  return files;
}

// Harmless changes by another program: a new owner or mode, or a checkpoint.
Store::Files Store::judge_changed_files() {
  const FileStamp main_file = stamp_of(path_);
  const FileStamp log = stamp_of(wal_path(path_));
  if (!main_file.is_same_file(main_file_) || !log.is_same_file(log_file_)) return Files::kForeign;
  if (log.size < log_file_.size) return Files::kForeign;
  const auto verdict_of = [](const SqliteError& error) {
    return is_nonsense(error) ? Files::kForeign : Files::kUnknown;
  };
  // Another program wrote to the main file: it made a checkpoint of the whole log, or put an older
  // copy there. Only then the main file can be read without the log: if a reader limited our last
  // checkpoint, the main file has a part of the log's pages and needs the rest.
  const auto header = connection_.first_bytes();
  const bool has_header = header.has_value() && *header == header_;
  if (!main_file.has_content_of(main_file_) || !has_header) {
    const auto alone = read_state_alone(path_);
    if (!alone) return verdict_of(alone.error());
    const bool is_known =
        alone->incarnation == incarnation_ || alone->incarnation == base_incarnation_;
    if (!is_known || alone->revision < revision_) return Files::kForeign;
  }
  const auto with_log = read_state(connection_);
  if (!with_log) return verdict_of(with_log.error());
  if (with_log->incarnation != incarnation_ || with_log->revision != revision_) {
    return Files::kForeign;
  }
  const auto finding = connection_.query_text("PRAGMA integrity_check(1)");
  if (!finding) return verdict_of(finding.error());
  return *finding == "ok" ? Files::kOurs : Files::kForeign;
}

Result<Contents> Store::load() { return read_contents(path_, connection_); }

Result<Contents> Store::inspect(const std::string& path) {
  if (path.empty()) return fail("database.path is required");
  const auto place = resolve(path);
  if (!place) return std::unexpected(place.error());
  const auto header = read_header(*place);
  if (!header) return std::unexpected(header.error());
  const auto no_room = lack_of_room(*place);
  if (no_room.has_value() && !*header) return std::unexpected(*no_room);
  if (!no_room.has_value()) {
    if (auto may = require_writable_directory(*place); !may) return std::unexpected(may.error());
    if (!*header) return Contents();
    if (auto may = require_writable_file(*place); !may) return std::unexpected(may.error());
  }
  if (auto ours = require_ours(*place, **header); !ours) return std::unexpected(ours.error());
  const auto origin = judge_wal(*place, **header);
  if (!origin) return std::unexpected(origin.error());
  const bool is_foreign = *origin == WalOrigin::kForeign;
  // Without a log the main file is complete, and reading it alone does not create an empty log.
  const bool is_alone = is_foreign || file_bytes(wal_path(*place)) == 0;
  const Access access = is_alone ? Access::kMainFileOnly : Access::kReadOnly;
  if (auto fit = examine(*place, access); !fit) return std::unexpected(fit.error());
  auto connection = Connection::open(*place, access);
  if (!connection) return fail_with_sqlite(*place, connection.error());
  return read_contents(*place, *connection);
}

std::optional<Error> Store::cannot_be_written(const std::string& path) {
  const auto place = resolve(path);
  return place.has_value() ? lack_of_room(*place) : std::nullopt;
}

pid_t Store::holder(const std::string& path) {
  const auto place = resolve(path);
  return place.has_value() ? LockFile::holder(*place) : 0;
}

std::expected<Revision, CommitError> Store::commit(const ChangeSet& changes,
                                                   const AuditEntry& entry) {
  const auto refuse = [this](const SqliteError& error) {
    return std::unexpected(
        CommitError{trouble_of(error), fail_with_sqlite(path_, error).error().message});
  };
  const auto refuse_replaced = [this](std::string_view problem) {
    const auto told = fail_with(
        path_, problem, "nothing was changed; restart mc-proxy, which then loads the present file");
    return std::unexpected(CommitError{Trouble::kReplaced, told.error().message});
  };
  // SQLite would continue to write to a file that was renamed or removed, and the next start would
  // not find it; or it would mix its pages with those of a file that was copied over it.
  constexpr std::string_view kReplaced =
      "changed, replaced or removed by another program while mc-proxy runs";
  if (!is_undisturbed()) return refuse_replaced(kReplaced);
  auto transaction = Transaction::begin(connection_, Transaction::Kind::kWrite);
  if (!transaction) return refuse(transaction.error());
  const auto is_current = write(changes, entry);
  if (!is_current) return refuse(is_current.error());
  if (!*is_current) return refuse_replaced(kReplaced);
  if (auto done = transaction->commit(); !done) return refuse(done.error());
  ++revision_;
  log_file_ = stamp_of(wal_path(path_));
  // A commit writes only to the log. If the main file was replaced meanwhile, the log is lost with
  // the old file.
  if (look_at_files() == Files::kForeign) {
    --revision_;
    has_lost_commit_ = true;
    return refuse_replaced(kReplaced);
  }
  if (++commits_in_log_ == kCommitsInLogMax) checkpoint();
  return revision_;
}

SqliteResult<bool> Store::write(const ChangeSet& changes, const AuditEntry& entry) {
  Statements& to = *statements_;
  SqliteResult<void> done;
  for (const auto& [listener, hostname, match] : changes.removed_routes) {
    done = to.remove_route.run(listener, hostname, match.alpn, joined(match.sources));
    if (!done) return std::unexpected(done.error());
  }
  for (const auto& [listener, text] : changes.put_routes) {
    done = to.put_route.run(listener, text.hostname, text.match.alpn, joined(text.match.sources),
                            text.backend, text.pool);
    if (!done) return std::unexpected(done.error());
  }
  for (const auto& [type, value] : changes.removed_rules) {
    if (done = to.remove_rule.run(type, value); !done) return std::unexpected(done.error());
  }
  for (const auto& [type, value] : changes.put_rules) {
    if (done = to.put_rule.run(type, value); !done) return std::unexpected(done.error());
  }
  for (const std::string& name : changes.removed_pools) {
    if (done = to.pools.remove(name); !done) return std::unexpected(done.error());
  }
  for (const PoolRecord& pool : changes.put_pools) {
    if (done = to.pools.put(pool); !done) return std::unexpected(done.error());
  }

  const auto revision = static_cast<std::int64_t>(revision_);
  const std::int64_t time_unix_ms = entry.time.time_since_epoch().count();
  done = to.add_audit.run(time_unix_ms, revision + 1, audit_text(entry.who),
                          audit_text(entry.action), audit_text(entry.detail));
  if (!done) return std::unexpected(done.error());
  if (done = to.prune_audit.run(kAuditEntriesMax); !done) return std::unexpected(done.error());

  done = to.set_state.run(revision, revision + 1, incarnation_, base_incarnation_,
                          static_cast<std::int64_t>(base_revision_));
  if (!done) return std::unexpected(done.error());
  return connection_.changes() == 1;
}

// Answers make no revision. So that a copy of the file from before them is known as that, they
// begin an incarnation; and because a log may hold only one change of that, all before must be in
// the main file.
Result<void> Store::put_resolved(const ResolvedChanges& changes) {
  checkpoint();
  if (!is_undisturbed()) return fail_with(path_, "another program changed it", "restart mc-proxy");
  if (commits_in_log_ > 0) return fail_with(path_, "another program reads it", "it is tried again");
  auto transaction = Transaction::begin(connection_, Transaction::Kind::kWrite);
  if (!transaction) return fail_with_sqlite(path_, transaction.error());
  if (auto done = statements_->resolved.run(changes); !done) {
    return fail_with_sqlite(path_, done.error());
  }
  auto incarnation = write_incarnation();
  if (!incarnation) return fail_with_sqlite(path_, incarnation.error());
  if (connection_.changes() != 1) {
    return fail_with(path_, "another program changed it", "restart mc-proxy");
  }
  if (auto done = transaction->commit(); !done) return fail_with_sqlite(path_, done.error());
  incarnation_ = *std::move(incarnation);
  log_file_ = stamp_of(wal_path(path_));
  ++commits_in_log_;
  return {};
}

// A failure, or a reader that limits the checkpoint, loses nothing: the commits stay in the log,
// and the next checkpoint copies them.
void Store::checkpoint() {
  if (commits_in_log_ == 0 || !is_undisturbed()) return;
  const auto is_moved = connection_.checkpoint(Connection::Checkpoint::kPassive);
  remember_files();
  if (!is_moved || !*is_moved) return;
  commits_in_log_ = 0;
  base_incarnation_ = incarnation_;
  base_revision_ = revision_;
}

Result<void> Store::snapshot(const std::string& destination) const {
  return copy_database(path_, Access::kReadOnly, destination);
}

Result<void> Store::snapshot_file(const std::string& path, const std::string& destination) {
  if (path.empty()) return fail("database.path is required");
  const auto place = resolve(path);
  if (!place) return std::unexpected(place.error());
  const auto header = read_header(*place);
  if (!header) return std::unexpected(header.error());
  if (!*header)
    return fail_with(*place, "there is no such file", "start the server, which creates it");
  if (auto ours = require_ours(*place, **header); !ours) return ours;
  const auto origin = judge_wal(*place, **header);
  if (!origin) return std::unexpected(origin.error());
  const bool is_foreign = *origin == WalOrigin::kForeign;
  return copy_database(*place, is_foreign ? Access::kMainFileOnly : Access::kReadOnly, destination);
}

Result<std::vector<AuditRecord>> Store::audit_after(const std::string& path, Revision revision,
                                                    std::size_t most) {
  auto connection = Connection::open(path, Access::kReadOnly);
  if (!connection) return fail_with_sqlite(path, connection.error());
  // There is no index by revision, but id and revision grow together: the inner select, from the
  // newest entry down, ends soon if few entries are new.
  auto entries = connection->prepare(
      "SELECT revision, time_unix_ms, who, action, detail FROM audit WHERE id > coalesce("
      "(SELECT id FROM audit WHERE revision <= ?1 ORDER BY id DESC LIMIT 1), 0) "
      "ORDER BY id LIMIT ?2");
  if (!entries) return fail_with_sqlite(path, entries.error());
  std::vector<AuditRecord> records;
  const auto read = entries->run_each(
      [&](const Statement& row) {
        const std::chrono::milliseconds time(row.integer(1));
        records.push_back(
            {static_cast<Revision>(row.integer(0)),
             {std::chrono::sys_time<std::chrono::milliseconds>(time), std::string(row.text(2)),
              std::string(row.text(3)), std::string(row.text(4))}});
      },
      static_cast<std::int64_t>(revision), static_cast<std::int64_t>(most));
  if (!read) return fail_with_sqlite(path, read.error());
  return records;
}

}  // namespace mc::store
