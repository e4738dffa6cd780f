// SPDX-License-Identifier: Apache-2.0
#include "store/schema.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstddef>

namespace mc::store {
namespace {

// The state is one row, with the columns that pair a database with its write-ahead log
// (wal_pairing.hpp). Routes and rules are looked up and ordered by their key and have little else:
// the key's tree is the table (WITHOUT ROWID).
constexpr const char* kFirst = R"sql(
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,
  incarnation TEXT NOT NULL,
  base_incarnation TEXT NOT NULL,
  base_revision INTEGER NOT NULL
) STRICT;

CREATE TABLE routes (
  listener TEXT NOT NULL,
  hostname TEXT NOT NULL,
  backend TEXT NOT NULL,
  PRIMARY KEY (listener, hostname)
) STRICT, WITHOUT ROWID;

CREATE TABLE firewall_rules (
  type TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (type, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  time_unix_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;

INSERT INTO state VALUES (1, 0, '', '', 0);
)sql";

// Pools. A route has a backend or a pool; the other text is empty. Enumerations are their words,
// durations milliseconds. `place` orders a pool's backends as the operator did.
constexpr const char* kPools = R"sql(
ALTER TABLE routes ADD COLUMN pool TEXT NOT NULL DEFAULT '';

CREATE TABLE pools (
  name TEXT PRIMARY KEY,
  balance TEXT NOT NULL,
  hash_prefix_v4 INTEGER NOT NULL,
  hash_prefix_v6 INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  dial_budget_ms INTEGER NOT NULL,
  slow_start_ms INTEGER NOT NULL,
  all_down TEXT NOT NULL,
  on_down TEXT NOT NULL,
  check_kind TEXT NOT NULL,
  check_name TEXT NOT NULL,
  check_interval_ms INTEGER NOT NULL,
  check_fast_interval_ms INTEGER NOT NULL,
  check_timeout_ms INTEGER NOT NULL,
  check_rise INTEGER NOT NULL,
  check_fall INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE backends (
  pool TEXT NOT NULL REFERENCES pools ON DELETE CASCADE,
  place INTEGER NOT NULL,
  address TEXT NOT NULL,
  weight INTEGER NOT NULL,
  backup INTEGER NOT NULL,
  max_connections INTEGER NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (pool, address)
) STRICT, WITHOUT ROWID;
)sql";

// What a route asks for besides the name is part of its key: `sources` are prefixes by address,
// with commas between them. A pool may send its backends a PROXY header. The last good answers
// of DNS, so that a start needs none.
constexpr const char* kMatches = R"sql(
CREATE TABLE matching_routes (
  listener TEXT NOT NULL,
  hostname TEXT NOT NULL,
  alpn TEXT NOT NULL DEFAULT '',
  sources TEXT NOT NULL DEFAULT '',
  backend TEXT NOT NULL,
  pool TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (listener, hostname, alpn, sources)
) STRICT, WITHOUT ROWID;
INSERT INTO matching_routes SELECT listener, hostname, '', '', backend, pool FROM routes;
DROP TABLE routes;
ALTER TABLE matching_routes RENAME TO routes;

ALTER TABLE pools ADD COLUMN send_proxy TEXT NOT NULL DEFAULT 'none';
ALTER TABLE pools ADD COLUMN send_proxy_tlvs TEXT NOT NULL DEFAULT '';

CREATE TABLE resolved_names (
  name TEXT PRIMARY KEY,
  addresses TEXT NOT NULL,
  time_unix_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

constexpr Migration kMigrations[] = {kFirst, kPools, kMatches};

}  // namespace

bool has_version(Connection& connection, std::int64_t version) {
  return connection.query_integer("PRAGMA user_version").value_or(0) >= version;
}

std::span<const Migration> migrations() { return kMigrations; }

SqliteResult<void> migrate(Connection& connection, std::span<const Migration> to) {
  auto transaction = Transaction::begin(connection, Transaction::Kind::kWrite);
  if (!transaction) return std::unexpected(transaction.error());
  const auto seen = connection.query_integer("PRAGMA user_version");
  if (!seen) return std::unexpected(seen.error());
  const auto version = static_cast<std::size_t>(*seen);
  if (version == to.size()) return {};
  if (version > to.size()) {
    return std::unexpected(
        SqliteError{.code = SQLITE_ERROR, .system_error = 0, .text = "a newer schema"});
  }
  for (const Migration migration : to.subspan(version)) {
    if (auto done = connection.execute(migration); !done) return done;
  }
  const auto set = connection.execute(fmt::format("PRAGMA user_version = {}", to.size()));
  if (!set) return set;
  return transaction->commit();
}

}  // namespace mc::store
