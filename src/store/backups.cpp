// SPDX-License-Identifier: Apache-2.0
#include "store/backups.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "base/ascii.hpp"
#include "base/quote.hpp"
#include "store/limits.hpp"

namespace mc::store {
namespace {

using std::chrono::system_clock;

constexpr std::string_view kPattern = "mc-proxy-00000000-000000.db";  // 0: a digit

int number(std::string_view digits) {
  int value = 0;
  for (const char c : digits) value = value * 10 + (c - '0');
  return value;
}

/// Whether a name is one of NewFile's for a backup: ".NAME.XXXXXX", and SQLite's journal of it.
bool is_temporary_of_backup(std::string_view name) {
  constexpr std::string_view kJournal = "-journal";
  if (name.ends_with(kJournal)) name.remove_suffix(kJournal.size());
  if (name.size() != 1 + kPattern.size() + 7 || !name.starts_with('.')) return false;
  const std::string_view random = name.substr(1 + kPattern.size());
  return backup_time(name.substr(1, kPattern.size())).has_value() && random.starts_with('.') &&
         std::ranges::all_of(random.substr(1),
                             [](unsigned char c) { return std::isalnum(c) != 0; });
}

// Anything but a plain file is not ours, whatever its name.
std::optional<system_clock::time_point> time_of_plain_file(const std::filesystem::path& path) {
  struct stat file{};
  if (::lstat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) return std::nullopt;
  return system_clock::from_time_t(file.st_mtime);
}

/// The files of a folder that may be pruned.
struct Found {
  std::vector<std::filesystem::path> backups;  // sorted: by their time
  std::vector<std::filesystem::path> abandoned;
  std::error_code error;  // the folder could not be read to its end
};

Found find_in(const std::filesystem::path& folder, system_clock::time_point now) {
  Found found;
  for (std::filesystem::directory_iterator it(folder, found.error), end; !found.error && it != end;
       it.increment(found.error)) {
    const auto written = time_of_plain_file(it->path());
    if (!written.has_value()) continue;
    const std::string name = it->path().filename();
    if (backup_time(name).has_value()) {
      found.backups.push_back(it->path());
    } else if (is_temporary_of_backup(name) && now - *written > kAbandonedCopyAge) {
      found.abandoned.push_back(it->path());
    }
  }
  std::ranges::sort(found.backups);
  return found;
}

Error not_removed(const std::string& path, int error) {
  return {
      fmt::format("old backup {} cannot be removed: {}; remove it, or run this as the user that "
                  "owns its folder",
                  quote(path), std::strerror(error))};
}

}  // namespace

std::string backup_name(std::chrono::sys_seconds time) {
  return fmt::format("mc-proxy-{:%Y%m%d-%H%M%S}.db", fmt::gmtime(system_clock::to_time_t(time)));
}

std::optional<std::chrono::sys_seconds> backup_time(std::string_view name) {
  const auto fits = [](char c, char wanted) { return wanted == '0' ? is_digit(c) : c == wanted; };
  if (!std::ranges::equal(name, kPattern, fits)) return std::nullopt;
  const auto at = [name](std::size_t begin, std::size_t count) {
    return number(name.substr(begin, count));
  };
  const std::chrono::year_month_day day(std::chrono::year(at(9, 4)),
                                        std::chrono::month(static_cast<unsigned>(at(13, 2))),
                                        std::chrono::day(static_cast<unsigned>(at(15, 2))));
  const int hours = at(18, 2), minutes = at(20, 2), seconds = at(22, 2);
  if (!day.ok() || hours > 23 || minutes > 59 || seconds > 59) return std::nullopt;
  return std::chrono::sys_days(day) + std::chrono::hours(hours) + std::chrono::minutes(minutes) +
         std::chrono::seconds(seconds);
}

Pruned prune_backups(const std::string& newest, std::chrono::milliseconds age,
                     system_clock::time_point now) {
  const std::filesystem::path kept(newest);
  Found found = find_in(kept.parent_path(), now);
  std::vector<std::filesystem::path> due = std::move(found.abandoned);
  const std::size_t old = found.backups.size() - std::min(found.backups.size(), kBackupsKept);
  const auto candidates = std::span(found.backups).first(old);
  for (const std::filesystem::path& path : candidates) {
    const auto time = backup_time(path.filename().native());
    if (path.filename() != kept.filename() && now - *time > age) due.push_back(path);
  }
  Pruned pruned;
  for (const std::filesystem::path& path : due) {
    if (::unlink(path.c_str()) == 0) {
      pruned.removed.push_back(path);
    } else if (errno != ENOENT) {  // another snapshot prunes, too
      pruned.failures.push_back(not_removed(path, errno));
    }
  }
  if (found.error) {
    pruned.failures.push_back(
        {fmt::format("the folder {} cannot be read: {}; old backups stay",
                     quote(kept.parent_path().string()), found.error.message())});
  }
  std::ranges::sort(pruned.removed);
  return pruned;
}

}  // namespace mc::store
