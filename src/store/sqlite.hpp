// SPDX-License-Identifier: Apache-2.0
#pragma once
// SQLite's C interface, owned: connection, statement, transaction. Thin on purpose: it closes what
// it opens and returns codes, and does not know what is stored. Each object belongs to one thread
// at a time.

#include <array>
#include <concepts>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

struct sqlite3;
struct sqlite3_stmt;

namespace mc::store {

/// SQLite's error, in its own terms; explain() in trouble.hpp makes a sentence of it.
struct SqliteError {
  /// An extended result code, such as SQLITE_IOERR_WRITE.
  int code = 0;
  /// The errno behind it, or 0.
  int system_error = 0;
  std::string text;

  /// The code without its extension: SQLITE_IOERR.
  [[nodiscard]] int primary_code() const { return code & 0xff; }
};

template <class T>
using SqliteResult = std::expected<T, SqliteError>;

/// A compiled statement. Must not outlive its Connection.
class Statement {
 public:
  Statement() = default;

  /// Binds `values` (text or integers) in order, and runs the statement to its end; rows are
  /// skipped. Text is borrowed until run() returns.
  template <class... Values>
  SqliteResult<void> run(const Values&... values) {
    return run_each([](const Statement&) {}, values...);
  }

  /// Like run(), and calls `visit(statement)` on each row, which it reads with text() and
  /// integer().
  template <std::invocable<const Statement&> Visit, class... Values>
  SqliteResult<void> run_each(Visit visit, const Values&... values) {
    int index = 0;
    (bind(++index, values), ...);
    auto row = step();
    for (; row && *row; row = step()) visit(std::as_const(*this));
    reset();
    if (!row) return std::unexpected(std::move(row.error()));
    return {};
  }

  /// Of the current row, columns counted from 0; valid until the visit ends.
  [[nodiscard]] std::string_view text(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;

 private:
  friend class Connection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };

  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  void bind(int index, std::string_view text);
  void bind(int index, std::int64_t value);
  /// Whether there is a row.
  SqliteResult<bool> step();
  void reset();

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  /// The first binding that failed since the last reset.
  int bind_code_ = 0;
};

/// How a database is opened. None of them creates a file.
enum class Access : std::uint8_t {
  kReadWrite,
  /// Reads beside a writer, or without one. Needs to write the -shm file, but no data.
  kReadOnly,
  /// Reads only the main file: takes no lock, does not read the write-ahead log, writes no file.
  /// Only for files that nobody writes meanwhile.
  kMainFileOnly,
};

/// An open database.
class Connection {
 public:
  /// Opens the database at `path`. Only the first statement finds out whether it is one.
  static SqliteResult<Connection> open(const std::string& path, Access access);

  /// Runs one or several statements without values; their rows are skipped.
  SqliteResult<void> execute(const std::string& sql);
  SqliteResult<Statement> prepare(std::string_view sql);
  /// The first column of the first row, as text and as a number. No row: SQLITE_DONE.
  SqliteResult<std::string> query_text(std::string_view sql);
  SqliteResult<std::int64_t> query_integer(std::string_view sql);

  /// The first bytes of the main file, zeros where it is shorter. Read through SQLite: closing a
  /// descriptor of our own would drop SQLite's locks (fcntl(2)).
  using FirstBytes = std::array<std::uint8_t, 100>;
  SqliteResult<FirstBytes> first_bytes();

  /// Rows that the last statement inserted, updated or deleted.
  [[nodiscard]] std::int64_t changes() const;
  [[nodiscard]] bool in_transaction() const;
  /// Makes closing leave the write-ahead log as it is, because the main file is another one now.
  void leave_log_when_closed();

  enum class Checkpoint : std::uint8_t {
    /// Moves what readers permit, and waits for nobody.
    kPassive,
    /// Waits for readers (as long as statements wait for locks), then empties the log.
    kTruncate,
  };
  /// Moves the write-ahead log's content to the main file, durably. Returns whether all was moved.
  SqliteResult<bool> checkpoint(Checkpoint checkpoint);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };

  explicit Connection(sqlite3* database) : database_(database) {}

  std::unique_ptr<sqlite3, Close> database_;
};

/// A transaction, rolled back unless it was committed.
class Transaction {
 public:
  enum class Kind : std::uint8_t {
    /// All reads see one state.
    kRead,
    /// Takes the write lock at once, so that no later statement can wait for a lock.
    kWrite,
  };

  /// `connection` must outlive the transaction, and has no other one.
  static SqliteResult<Transaction> begin(Connection& connection, Kind kind);

  Transaction(Transaction&& other) noexcept
      : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  /// A failed commit is rolled back by the destructor.
  SqliteResult<void> commit();

 private:
  explicit Transaction(Connection* connection) : connection_(connection) {}

  Connection* connection_;
};

}  // namespace mc::store
