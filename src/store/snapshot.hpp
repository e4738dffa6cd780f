// SPDX-License-Identifier: Apache-2.0
#pragma once
// Copies of a database while it is in use: one file each, complete in itself, checked, and made
// whole or not at all. Any thread, beside a writer.

#include <string>

#include "base/result.hpp"
#include "store/sqlite.hpp"

namespace mc::store {

/// Copies the database at `path` (without symbolic links) to `destination`, replacing any file
/// there; the copy's mode is 0600. `access` is kMainFileOnly for a database whose log is not its
/// own, else kReadOnly. A process killed meanwhile leaves a file ".NAME.XXXXXX" in the
/// destination's directory.
Result<void> copy_database(const std::string& path, Access access, const std::string& destination);

}  // namespace mc::store
