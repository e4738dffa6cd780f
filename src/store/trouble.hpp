// SPDX-License-Identifier: Apache-2.0
#pragma once
// Error texts for a database that cannot be used. They name the file, the problem and the remedy,
// and state that nothing was lost. Pure functions; any thread.

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "store/sqlite.hpp"
#include "store/store.hpp"

namespace mc::store {

/// `database "/srv/mc-proxy/mc-proxy.db": PROBLEM; REMEDY`. All messages of this room have this
/// form.
std::unexpected<Error> fail_with(const std::string& path, std::string_view problem,
                                 std::string_view remedy);

/// For an `error` (errno) of a system call on the file at `path`.
std::unexpected<Error> fail_with_errno(const std::string& path, int error);

/// For an `error` (errno) when a file was to be created in `directory` for the database at `path`.
std::unexpected<Error> fail_with_directory(const std::string& path, const std::string& directory,
                                           int error);

/// For an error of SQLite on the database at `path`.
std::unexpected<Error> fail_with_sqlite(const std::string& path, const SqliteError& error);

/// For a damaged file; `finding` is the evidence. The remedy leads to a working database.
std::unexpected<Error> fail_with_damage(const std::string& path, std::string_view finding);

/// The Trouble of a commit that failed with this error.
Trouble trouble_of(const SqliteError& error);

/// Whether SQLite found the file damaged, or no database.
bool is_damage(const SqliteError& error);

}  // namespace mc::store
