// SPDX-License-Identifier: Apache-2.0
#pragma once
// One server to a database. The lock is flock(2) on a file of its own beside the database: the
// kernel drops it with the process, whatever ends it, and SQLite's own locks, which are fcntl(2)'s
// on the database file and come and go with each transaction, are not touched by it. Readers take
// no such lock. The file stays when the lock goes: removing it would let two servers in, each with
// a lock on another file of the same name.

#include <sys/types.h>

#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace mc::store {

/// Holds the lock of a database as long as it lives. A process forked meanwhile holds it too, until
/// it ends or execs.
class LockFile {
 public:
  /// Locks the database at `path`, or says which process has it.
  static Result<LockFile> acquire(const std::string& path);

  /// Which process has it (proc_locks(5)); 0: none, or one that is not seen from here.
  static pid_t holder(const std::string& path);

 private:
  explicit LockFile(Fd file) : file_(std::move(file)) {}

  Fd file_;
};

}  // namespace mc::store
