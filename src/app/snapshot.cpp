// SPDX-License-Identifier: Apache-2.0
// mc-proxy snapshot: a complete copy of the database, beside a server that writes or without one,
// and the end of those that are too old.

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "app/commands.hpp"
#include "base/duration.hpp"
#include "base/owner.hpp"
#include "base/quote.hpp"
#include "base/result.hpp"
#include "config/config.hpp"
#include "store/backups.hpp"
#include "store/store.hpp"

namespace mc::app {
namespace {

// What root makes here belongs to the server's user, who makes the next one.
void give_to_owner_of(const std::string& database, const std::string& path) {
  const auto owner = owner_beside(database);
  if (owner.has_value()) {
    static_cast<void>(::lchown(path.c_str(), owner->user, owner->group));
  }
}

Result<std::string> default_output(const std::string& database) {
  const std::filesystem::path folder = std::filesystem::path(database).parent_path() / "backups";
  // Routes tell what runs where, which is nobody else's business.
  if (::mkdir(folder.c_str(), 0700) == 0) {
    give_to_owner_of(database, folder);
  } else if (errno != EEXIST) {
    return fail(fmt::format("the folder {} cannot be made: {}; make it, or name a file with -o",
                            quote(folder.string()), std::strerror(errno)));
  }
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return (folder / store::backup_name(now)).string();
}

// Shorter ages are taken for slips of the pen, because what they remove does not come back: "30m"
// that was to be months, "30s" where the unit was forgotten.
constexpr std::chrono::hours kPruneAgeMin{1};

Result<std::chrono::milliseconds> read_age(const std::string& text) {
  constexpr std::string_view kRemedy = "write days like \"30d\"";
  if (!text.empty() && text.find_first_not_of("0123456789") == text.npos) {
    return fail(fmt::format("--prune {}: the unit is missing; {}", quote(text), kRemedy));
  }
  const auto age = parse_duration(text);
  if (!age.has_value()) return fail(fmt::format("--prune {}; {}", age.error().message, kRemedy));
  if (*age < kPruneAgeMin) {
    return fail(
        fmt::format("--prune {}: less than an hour, which would remove almost every backup "
                    "there is; {}",
                    quote(text), kRemedy));
  }
  return *age;
}

/// How old backups may become; nothing where all stay.
Result<std::optional<std::chrono::milliseconds>> age_from(const SnapshotOptions& snapshot) {
  if (!snapshot.prune.has_value()) return std::nullopt;
  if (!snapshot.output.empty()) {
    return fail(
        "--prune goes through the folder of backups, where --output does not put its copy; run "
        "one without the other");
  }
  const auto age = read_age(*snapshot.prune);
  if (!age.has_value()) return std::unexpected(age.error());
  return *age;
}

Result<std::string> make_copy(const std::string& database, const std::string& output) {
  auto destination = output.empty() ? default_output(database) : Result<std::string>(output);
  if (!destination.has_value()) return destination;
  const auto made = store::Store::snapshot_file(database, *destination);
  if (!made.has_value()) return std::unexpected(made.error());
  if (output.empty()) give_to_owner_of(database, *destination);
  return destination;
}

void print_json(const std::string& path, const store::Pruned* pruned) {
  struct stat file{};
  static_cast<void>(::stat(path.c_str(), &file));
  std::string line = "{\"path\": ";
  append_json_string(line, path);
  line += fmt::format(", \"size\": {}", file.st_size);
  if (pruned != nullptr) {
    line += ", \"removed\": [";
    for (const std::string& removed : pruned->removed) {
      if (!line.ends_with('[')) line += ", ";
      append_json_string(line, removed);
    }
    line += ']';
  }
  fmt::print("{}}}\n", line);
}

void print_text(const std::string& path, const store::Pruned* pruned) {
  fmt::print("{}\n", path);
  if (pruned == nullptr) return;
  for (const std::string& removed : pruned->removed) fmt::print("removed {}\n", removed);
}

}  // namespace

int snapshot(const ClientOptions& options, const SnapshotOptions& snapshot) {
  const auto age = age_from(snapshot);
  if (!age.has_value()) {
    complain("mc-proxy: " + age.error().message);
    return kUsage;
  }
  const config::Parsed config = config::load(options.config_path, config::NamedFiles::kIgnored);
  if (!config.has_value()) {
    complain(config::to_string(config.error()));
    return kFailed;
  }
  const auto path = make_copy(config->database.path, snapshot.output);
  if (!path.has_value()) {
    complain("mc-proxy: " + path.error().message);
    return kFailed;
  }
  std::optional<store::Pruned> pruned;
  if (age->has_value()) {
    pruned = store::prune_backups(*path, **age, std::chrono::system_clock::now());
  }
  const auto print = options.json ? print_json : print_text;
  print(*path, pruned.has_value() ? &*pruned : nullptr);
  if (!pruned.has_value() || pruned->failures.empty()) return kDone;
  for (const Error& failure : pruned->failures) complain("mc-proxy: " + failure.message);
  return kFailed;
}

}  // namespace mc::app
