// SPDX-License-Identifier: Apache-2.0
#pragma once
// The folder of backups: what the copies in it are called, and which of them are old enough to go.
// Only what has such a name is ever removed; whatever else somebody keeps there stays. Any thread.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace mc::store {

/// The name of a backup of that second: "mc-proxy-20261122-183000.db". In UTC: such names sort by
/// age, and no hour comes twice.
std::string backup_name(std::chrono::sys_seconds time);

/// The time in a backup's name; nothing if it is any other name.
std::optional<std::chrono::sys_seconds> backup_time(std::string_view name);

struct Pruned {
  std::vector<std::string> removed;  // paths, sorted
  std::vector<Error> failures;       // of what should have gone and is still there
};

/// Removes from the folder of `newest` the backups whose names have a time more than `age` before
/// `now`, and what snapshots that were killed have left there. `newest` itself and the kBackupsKept
/// with the latest names stay, whatever the clock says.
///
/// The name tells the age, and not the file's time: copying backups to another disk and back makes
/// the files new, not what is in them.
Pruned prune_backups(const std::string& newest, std::chrono::milliseconds age,
                     std::chrono::system_clock::time_point now);

}  // namespace mc::store
