// SPDX-License-Identifier: Apache-2.0
#pragma once
// At most one server for each database. The lock is flock(2) on its own file beside the database:
// the kernel drops it with the process, however that ends. SQLite's own locks, which are fcntl(2)'s
// on the database file and come and go with each transaction, are independent of it. Readers take
// no such lock. The file stays when the lock goes: removing it would let in two servers, each with
// a lock on another file of the same name.

#include <sys/types.h>

#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace mc::store {

/// Holds the lock of a database while it lives. A process forked meanwhile holds it too, until it
/// ends or execs.
class LockFile {
 public:
  /// Locks the database at `path`; the error names the process that has it.
  static Result<LockFile> acquire(const std::string& path);

  /// Which process has it (proc_locks(5)); 0: none, or one not visible from here.
  static pid_t holder(const std::string& path);

 private:
  explicit LockFile(Fd file) : file_(std::move(file)) {}

  Fd file_;
};

}  // namespace mc::store
