// SPDX-License-Identifier: Apache-2.0
#include "store/trouble.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <string>

#include "support/catch.hpp"

namespace mc::store {
namespace {

std::string told(const std::unexpected<Error>& failure) { return failure.error().message; }

std::string of_errno(int error) { return told(fail_with_errno("/db", error)); }

std::string of_sqlite(int code, int system_error = 0) {
  return told(fail_with_sqlite("/db", {code, system_error, "SQLite's text"}));
}

}  // namespace

TEST_CASE("every trouble names the database, what is wrong and what to do") {
  CHECK(told(fail_with("/d\nb", "locked", "wait")) == "database \"/d\\nb\": locked; wait");
}

TEST_CASE("errors of the system are told with the remedy that fits") {
  CHECK(of_errno(ENOENT).ends_with("there is no such file; correct database.path"));
  CHECK(of_errno(ENOTDIR) == of_errno(ENOENT));
  CHECK(of_errno(EACCES).contains("chown mc-proxy:mc-proxy /db, chmod 0600 /db"));
  CHECK(of_errno(EPERM) == of_errno(EACCES));
  CHECK(of_errno(EROFS).contains("its file system is read-only; mount it writable"));
  CHECK(of_errno(ENOSPC).contains("no room left to write; free some space"));
  CHECK(of_errno(EDQUOT) == of_errno(ENOSPC));
  CHECK(of_errno(EFBIG) == of_errno(ENOSPC));
  CHECK(of_errno(EMFILE).contains("raise LimitNOFILE"));
  CHECK(of_errno(ENFILE).contains("raise LimitNOFILE"));
  CHECK(of_errno(EIO).contains("check the file and the disk it is on"));
}

TEST_CASE("errors of the directory name it, and others are the file's") {
  const auto told_of = [](int error) { return told(fail_with_directory("/a/db", "/a", error)); };
  CHECK(told_of(ENOENT).contains("there is no directory \"/a\"; create it: install -d"));
  CHECK(told_of(ENOTDIR) == told_of(ENOENT));
  CHECK(told_of(EACCES).contains("permission denied in its directory \"/a\""));
  CHECK(told_of(EPERM) == told_of(EACCES));
  CHECK(told_of(EROFS) == told(fail_with_errno("/a/db", EROFS)));
}

TEST_CASE("errors of SQLite are told by their cause, whatever their extension") {
  CHECK(of_sqlite(SQLITE_BUSY).contains("locked by another program"));
  CHECK(of_sqlite(SQLITE_LOCKED) == of_sqlite(SQLITE_BUSY));
  CHECK(of_sqlite(SQLITE_BUSY_RECOVERY) == of_sqlite(SQLITE_BUSY));
  CHECK(of_sqlite(SQLITE_FULL) == of_errno(ENOSPC));
  CHECK(of_sqlite(SQLITE_CORRUPT_INDEX).contains("damaged (SQLite's text)"));
  CHECK(of_sqlite(SQLITE_NOTADB).contains("damaged (SQLite's text)"));
  CHECK(of_sqlite(SQLITE_NOMEM).contains("out of memory"));
  CHECK(of_sqlite(SQLITE_READONLY, EROFS) == of_errno(EROFS));
  CHECK(of_sqlite(SQLITE_READONLY) == of_errno(EACCES));
  CHECK(of_sqlite(SQLITE_READONLY_ROLLBACK).contains("another program was interrupted"));
  CHECK(of_sqlite(SQLITE_MISUSE).contains("please report it"));
}

TEST_CASE("where SQLite has no word of its own, the system's is told") {
  CHECK(of_sqlite(SQLITE_CANTOPEN, EMFILE) == of_errno(EMFILE));
  CHECK(of_sqlite(SQLITE_IOERR_WRITE, ENOSPC) == of_errno(ENOSPC));
  CHECK(of_sqlite(SQLITE_IOERR_FSYNC, EIO).contains("SQLite's text (Input/output error)"));
  CHECK(of_sqlite(SQLITE_IOERR_SHORT_READ).contains("SQLite's text; check the disk"));
}

TEST_CASE("a commit that failed is told by what it wants for") {
  CHECK(trouble_of({SQLITE_FULL, 0, ""}) == Trouble::kNoRoom);
  CHECK(trouble_of({SQLITE_IOERR_WRITE, ENOSPC, ""}) == Trouble::kNoRoom);
  CHECK(trouble_of({SQLITE_IOERR_WRITE, EDQUOT, ""}) == Trouble::kNoRoom);
  CHECK(trouble_of({SQLITE_IOERR_WRITE, EFBIG, ""}) == Trouble::kNoRoom);
  CHECK(trouble_of({SQLITE_IOERR_WRITE, EIO, ""}) == Trouble::kOther);
  CHECK(trouble_of({SQLITE_BUSY_SNAPSHOT, 0, ""}) == Trouble::kLocked);
  CHECK(trouble_of({SQLITE_LOCKED, 0, ""}) == Trouble::kLocked);
  CHECK(trouble_of({SQLITE_CORRUPT, 0, ""}) == Trouble::kOther);
}

TEST_CASE("only a file that is wrong in itself is damaged") {
  CHECK(is_damage({SQLITE_CORRUPT_VTAB, 0, ""}));
  CHECK(is_damage({SQLITE_NOTADB, 0, ""}));
  CHECK_FALSE(is_damage({SQLITE_IOERR_READ, EIO, ""}));
  CHECK_FALSE(is_damage({SQLITE_BUSY, 0, ""}));
}

}  // namespace mc::store
