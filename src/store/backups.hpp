// SPDX-License-Identifier: Apache-2.0
#pragma once
// The folder of backups: the names of its copies, and which of them are old enough to remove. Only
// files with such a name are ever removed; all others stay. Any thread.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace mc::store {

/// The name of a backup of that second: "mc-proxy-20261122-183000.db". In UTC: such names sort by
/// age, and no hour repeats.
std::string backup_name(std::chrono::sys_seconds time);

/// The time in a backup's name; nothing for any other name.
std::optional<std::chrono::sys_seconds> backup_time(std::string_view name);

struct Pruned {
  std::vector<std::string> removed;  // paths, sorted
  std::vector<Error> failures;       // of files that should have been removed and are still there
};

/// Removes from the folder of `newest` the backups whose names have a time more than `age` before
/// `now`, and the leftovers of killed snapshots. Always keeps `newest` itself and the kBackupsKept
/// with the latest names.
///
/// The name gives the age, not the file's time: copying backups to another disk and back makes the
/// files new, not their content.
Pruned prune_backups(const std::string& newest, std::chrono::milliseconds age,
                     std::chrono::system_clock::time_point now);

}  // namespace mc::store
