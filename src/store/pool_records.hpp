// SPDX-License-Identifier: Apache-2.0
#pragma once
// The records of pools and their backends: reads and writes the tables `pools` and `backends`. The
// owner of the connection calls.

#include <string>
#include <vector>

#include "base/result.hpp"
#include "store/sqlite.hpp"
#include "store/store.hpp"

namespace mc::store {

/// All pools, ordered by name. A database of version 1 that is only read has none. `path` is for
/// errors, one of which is a word that no value of an enumeration has: another program wrote it.
Result<std::vector<PoolRecord>> read_pools(const std::string& path, Connection& connection);

/// The statements that change pools. Must not outlive the connection.
class PoolStatements {
 public:
  PoolStatements() = default;
  static SqliteResult<PoolStatements> prepare(Connection& connection);

  SqliteResult<void> remove(const std::string& name);
  /// Replaces the pool of that name and its backends.
  SqliteResult<void> put(const PoolRecord& pool);

 private:
  Statement remove_, remove_backends_, add_, add_backend_;
};

}  // namespace mc::store
