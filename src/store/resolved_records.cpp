// SPDX-License-Identifier: Apache-2.0
#include "store/resolved_records.hpp"

#include <utility>

#include "store/schema.hpp"

namespace mc::store {

SqliteResult<std::vector<ResolvedRecord>> read_resolved(Connection& connection) {
  std::vector<ResolvedRecord> answers;
  if (!has_version(connection, kVersionWithMatches)) return answers;
  auto select =
      connection.prepare("SELECT name, addresses, time_unix_ms FROM resolved_names ORDER BY name");
  if (!select) return std::unexpected(select.error());
  const auto done = select->run_each([&](const Statement& row) {
    answers.push_back({.name = std::string(row.text(0)),
                       .addresses = std::string(row.text(1)),
                       .time = std::chrono::sys_time<std::chrono::milliseconds>(
                           std::chrono::milliseconds(row.integer(2)))});
  });
  if (!done) return std::unexpected(done.error());
  return answers;
}

SqliteResult<ResolvedStatements> ResolvedStatements::prepare(Connection& connection) {
  ResolvedStatements all;
  auto remove = connection.prepare("DELETE FROM resolved_names WHERE name = ?1");
  if (!remove) return std::unexpected(remove.error());
  all.remove_ = *std::move(remove);
  auto put = connection.prepare(
      "INSERT INTO resolved_names (name, addresses, time_unix_ms) VALUES (?1, ?2, ?3) "
      "ON CONFLICT DO UPDATE SET addresses = excluded.addresses, "
      "time_unix_ms = excluded.time_unix_ms");
  if (!put) return std::unexpected(put.error());
  all.put_ = *std::move(put);
  return all;
}

SqliteResult<void> ResolvedStatements::run(const ResolvedChanges& changes) {
  SqliteResult<void> done;
  for (const std::string& name : changes.removed) {
    if (done = remove_.run(name); !done) return done;
  }
  for (const ResolvedRecord& answer : changes.put) {
    const std::int64_t time_unix_ms = answer.time.time_since_epoch().count();
    if (done = put_.run(answer.name, answer.addresses, time_unix_ms); !done) return done;
  }
  return done;
}

}  // namespace mc::store
