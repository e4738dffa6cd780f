// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the operator is told when a database cannot be used: which file, what is the matter, what to
// do about it, and that nothing was lost. Pure functions; any thread.

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "store/sqlite.hpp"
#include "store/store.hpp"

namespace mc::store {

/// `database "/srv/mc-proxy/mc-proxy.db": PROBLEM; REMEDY`. All messages of this room begin so.
std::unexpected<Error> fail_with(const std::string& path, std::string_view problem,
                                 std::string_view remedy);

/// What the system's `error` (an errno) on the file at `path` means.
std::unexpected<Error> fail_with_errno(const std::string& path, int error);

/// What the system's `error` means when a file is to be made in `directory` for the database at
/// `path`.
std::unexpected<Error> fail_with_directory(const std::string& path, const std::string& directory,
                                           int error);

/// What SQLite's refusal on the database at `path` means.
std::unexpected<Error> fail_with_sqlite(const std::string& path, const SqliteError& error);

/// That the file is damaged: `finding` is what showed it. Tells the way to a working database.
std::unexpected<Error> fail_with_damage(const std::string& path, std::string_view finding);

/// What kind of trouble it is for a commit.
Trouble trouble_of(const SqliteError& error);

/// Whether SQLite found damage, or something other than a database.
bool is_damage(const SqliteError& error);

}  // namespace mc::store
