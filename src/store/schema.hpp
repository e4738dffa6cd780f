// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables, as a list of migrations; the database records how many it has had (PRAGMA
// user_version). A new database gets all of them. To change the tables, append a migration; never
// change a released one.

#include <cstdint>
#include <span>

#include "store/sqlite.hpp"

namespace mc::store {

/// In the header of each database of ours ("mcPx"), so that another application's is not touched.
inline constexpr std::uint32_t kApplicationId = 0x6d635078;

/// One or several statements.
using Migration = const char*;

/// The version of the tables that has pools. An older file that is only read has none.
inline constexpr std::int64_t kVersionWithPools = 2;
/// Likewise for what routes match besides the name, PROXY headers and answers of DNS.
inline constexpr std::int64_t kVersionWithMatches = 3;

/// Whether the tables have had that many migrations.
bool has_version(Connection& connection, std::int64_t version);

/// All of ours, oldest first.
std::span<const Migration> migrations();

/// Migrates the database from its version to the last one, in one transaction: all missing
/// migrations, or none. A database that has had more migrations is SQLITE_ERROR; check the header
/// first.
SqliteResult<void> migrate(Connection& connection, std::span<const Migration> to);

}  // namespace mc::store
