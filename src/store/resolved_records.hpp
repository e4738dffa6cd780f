// SPDX-License-Identifier: Apache-2.0
#pragma once
// The last good answers of DNS: reads and writes the table `resolved_names`. They belong to no
// revision: nothing is wrong without them, but a start while DNS is away. The owner of the
// connection calls.

#include <span>
#include <string>
#include <vector>

#include "store/sqlite.hpp"
#include "store/store.hpp"

namespace mc::store {

/// All answers, ordered by name. A database of an older version that is only read has none.
SqliteResult<std::vector<ResolvedRecord>> read_resolved(Connection& connection);

/// The statements that change answers. Must not outlive the connection.
class ResolvedStatements {
 public:
  ResolvedStatements() = default;
  static SqliteResult<ResolvedStatements> prepare(Connection& connection);

  SqliteResult<void> run(const ResolvedChanges& changes);

 private:
  Statement remove_, put_;
};

}  // namespace mc::store
