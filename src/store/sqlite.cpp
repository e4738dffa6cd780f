// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <iterator>

#include "store/limits.hpp"

namespace mc::store {
namespace {

// A failed commit does not record its errno (SQLite 3.40). It is still the errno of the last failed
// system call, because callers clear it before they call SQLite.
int errno_behind(sqlite3* database) {
  const int recorded = sqlite3_system_errno(database);
  return recorded != 0 ? recorded : errno;
}

std::unexpected<SqliteError> failed(sqlite3* database, int code) {
  // Misuse and lack of memory set no message on the connection.
  const bool is_last = database != nullptr && sqlite3_extended_errcode(database) == code;
  return std::unexpected(
      SqliteError{.code = code,
                  .system_error = is_last ? errno_behind(database) : 0,
                  .text = is_last ? sqlite3_errmsg(database) : sqlite3_errstr(code)});
}

/// The path as a URI (https://sqlite.org/uri.html), the only form that takes parameters.
std::string immutable_uri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (std::string_view("%?#").contains(c)) {
      fmt::format_to(std::back_inserter(uri), "%{:02X}", static_cast<unsigned char>(c));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

void Statement::bind(int index, std::string_view text) {
  // An empty view may hold a null pointer, which would be bound as NULL.
  const char* const data = text.empty() ? "" : text.data();
  const int code =
      sqlite3_bind_text64(statement_.get(), index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (bind_code_ == SQLITE_OK) bind_code_ = code;
}

void Statement::bind(int index, std::int64_t value) {
  const int code = sqlite3_bind_int64(statement_.get(), index, value);
  if (bind_code_ == SQLITE_OK) bind_code_ = code;
}

SqliteResult<bool> Statement::step() {
  sqlite3* const database = sqlite3_db_handle(statement_.get());
  if (bind_code_ != SQLITE_OK) return failed(database, bind_code_);
  errno = 0;
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return failed(database, code);
}

void Statement::reset() {
  sqlite3_reset(statement_.get());  // returns the code of step() again
  bind_code_ = SQLITE_OK;
}

std::string_view Statement::text(int column) const {
  // In this order: the call for the text may convert the value, which changes its size.
  const auto* data = sqlite3_column_text(statement_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return {reinterpret_cast<const char*>(data), size};
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

void Connection::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

SqliteResult<Connection> Connection::open(const std::string& path, Access access) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE;
  flags |= access == Access::kReadWrite ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  std::string name = path;
  if (access == Access::kMainFileOnly) {
    name = immutable_uri(path);
    flags |= SQLITE_OPEN_URI;
  }
  sqlite3* database = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &database, flags, nullptr);
  Connection connection(database);  // set even after most failures
  if (code != SQLITE_OK) return failed(database, code);
  sqlite3_busy_timeout(database, static_cast<int>(kBusyWaitMax.count()));
  return connection;
}

SqliteResult<void> Connection::execute(const std::string& sql) {
  errno = 0;
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failed(database_.get(), code);
  return {};
}

SqliteResult<Statement> Connection::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return failed(database_.get(), code);
  return Statement(statement);
}

SqliteResult<std::string> Connection::query_text(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return failed(nullptr, SQLITE_DONE);
  return std::string(statement->text(0));
}

SqliteResult<std::int64_t> Connection::query_integer(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return failed(nullptr, SQLITE_DONE);
  return statement->integer(0);
}

SqliteResult<Connection::FirstBytes> Connection::first_bytes() {
  sqlite3_file* file = nullptr;
  const int code = sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (code != SQLITE_OK) return failed(database_.get(), code);
  FirstBytes bytes{};
  const int read = file->pMethods->xRead(file, bytes.data(), static_cast<int>(bytes.size()), 0);
  if (read != SQLITE_OK && read != SQLITE_IOERR_SHORT_READ) return failed(database_.get(), read);
  return bytes;
}

std::int64_t Connection::changes() const { return sqlite3_changes64(database_.get()); }

bool Connection::in_transaction() const { return sqlite3_get_autocommit(database_.get()) == 0; }

void Connection::leave_log_when_closed() {
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

SqliteResult<bool> Connection::checkpoint(Checkpoint checkpoint) {
  const int mode =
      checkpoint == Checkpoint::kPassive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE;
  int frames = 0;
  int frames_moved = 0;
  const int code = sqlite3_wal_checkpoint_v2(database_.get(), "main", mode, &frames, &frames_moved);
  if ((code & 0xff) == SQLITE_BUSY) return false;
  if (code != SQLITE_OK) return failed(database_.get(), code);
  return frames == frames_moved;
}

SqliteResult<Transaction> Transaction::begin(Connection& connection, Kind kind) {
  auto begun = connection.execute(kind == Kind::kWrite ? "BEGIN IMMEDIATE" : "BEGIN");
  if (!begun) return std::unexpected(std::move(begun.error()));
  return Transaction(&connection);
}

Transaction::~Transaction() {
  // SQLite may have rolled back by itself: a full disk does that.
  if (connection_ != nullptr && connection_->in_transaction()) {
    (void)connection_->execute("ROLLBACK");
  }
}

SqliteResult<void> Transaction::commit() { return connection_->execute("COMMIT"); }

}  // namespace mc::store
