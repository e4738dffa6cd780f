// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables, and how they came to be what they are: a list of migrations, of which the database
// knows how many it has seen (PRAGMA user_version). A new database sees all of them. To change the
// tables, append a migration; one that was released is never changed.

#include <cstdint>
#include <span>

#include "store/sqlite.hpp"

namespace mc::store {

/// In the header of each database of ours ("mcPx"), so that no other application's is touched.
inline constexpr std::uint32_t kApplicationId = 0x6d635078;

/// One or several statements.
using Migration = const char*;

/// All of ours, oldest first.
std::span<const Migration> migrations();

/// Takes the database from the version it has to the last one, in one transaction: all of the
/// missing migrations, or none. A database that has seen more migrations than these is
/// SQLITE_ERROR; its owner looks at the header before.
SqliteResult<void> migrate(Connection& connection, std::span<const Migration> to);

}  // namespace mc::store
