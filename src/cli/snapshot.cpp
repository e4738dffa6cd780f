// SPDX-License-Identifier: Apache-2.0
// mc-proxy snapshot: makes a complete copy of the database, with or without a server that writes,
// and removes copies that are too old.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/duration.hpp"
#include "base/fd.hpp"
#include "base/json.hpp"
#include "base/owner.hpp"
#include "base/quote.hpp"
#include "base/result.hpp"
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "config/config.hpp"
#include "store/backups.hpp"
#include "store/files.hpp"
#include "store/store.hpp"

namespace mc::cli {
namespace {

struct SnapshotOptions {
  std::string output;  // empty: a file named by the time, in backups/ beside the database
  std::optional<std::string> prune;  // the age at which backups there are removed, "30d"
};

// Gives what root makes here to the server's user, who makes the next one.
void give_to_owner_of(const std::string& database, const std::string& path) {
  const auto owner = owner_beside(database);
  if (owner.has_value()) {
    static_cast<void>(::lchown(path.c_str(), owner->user, owner->group));
  }
}

int report(const Error& error) {
  complain("mc-proxy: " + error.message);
  return kFailed;
}

// The folder of backups, locked: two snapshots of one second would have one name.
struct BackupFolder {
  std::filesystem::path path;
  Fd lock;
};

Result<BackupFolder> open_folder(const std::string& database) {
  const std::filesystem::path folder = std::filesystem::path(database).parent_path() / "backups";
  // Routes show what runs where, which only the owner should read.
  if (::mkdir(folder.c_str(), 0700) == 0) {
    give_to_owner_of(database, folder);
  } else if (errno != EEXIST) {
    return fail(
        fmt::format("the folder {} cannot be created: {}; create it, or name a file with -o",
                    quote(folder.string()), std::strerror(errno)));
  }
  Fd lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) {
    return fail(fmt::format("the folder {} cannot be opened: {}", quote(folder.string()),
                            std::strerror(errno)));
  }
  return BackupFolder{.path = folder, .lock = std::move(lock)};
}

// If there is one of this second already, uses the next second's name.
std::string free_name(const std::filesystem::path& folder) {
  auto time = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  for (;; ++time) {
    const std::filesystem::path path = folder / store::backup_name(time);
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) return path;
  }
}

// Rejects shorter ages as slips, because removed files do not come back: "30m" for months, "30s"
// without thinking of the unit.
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
        fmt::format("--prune {}: less than an hour, which would remove almost every backup; {}",
                    quote(text), kRemedy));
  }
  return *age;
}

/// The maximum age of backups; nothing if all stay.
Result<std::optional<std::chrono::milliseconds>> age_from(const SnapshotOptions& snapshot) {
  if (!snapshot.prune.has_value()) return std::nullopt;
  if (!snapshot.output.empty()) {
    return fail(
        "--prune is for the folder of backups, and --output writes elsewhere; give only one of "
        "them");
  }
  const auto age = read_age(*snapshot.prune);
  if (!age.has_value()) return std::unexpected(age.error());
  return *age;
}

Result<std::string> copy_to(const std::string& database, const std::string& destination) {
  const auto made = store::Store::snapshot_file(database, destination);
  if (!made.has_value()) return std::unexpected(made.error());
  return destination;
}

Result<std::string> make_copy(const std::string& database, const std::string& output) {
  if (!output.empty()) return copy_to(database, output);
  const auto folder = open_folder(database);
  if (!folder.has_value()) return std::unexpected(folder.error());
  auto made = copy_to(database, free_name(folder->path));
  if (made.has_value()) give_to_owner_of(database, *made);
  return made;
}

void print_as_json(const std::string& path, const store::Pruned* pruned) {
  struct stat file{};
  static_cast<void>(::stat(path.c_str(), &file));
  JsonWriter json;
  json.begin_object().member("path", path).member("size", file.st_size);
  if (pruned != nullptr) {
    json.key("removed").begin_array();
    for (const std::string& removed : pruned->removed) json.value(removed);
    json.end();
  }
  fmt::print("{}\n", json.end().text());
}

void print_as_text(const std::string& path, const store::Pruned* pruned) {
  fmt::print("{}\n", path);
  if (pruned == nullptr) return;
  for (const std::string& removed : pruned->removed) fmt::print("removed {}\n", removed);
}

// Appends one piece; returns why that failed, or nothing.
std::string append(std::FILE* file, const std::string& piece) {
  const bool written = std::fwrite(piece.data(), 1, piece.size(), file) == piece.size();
  return written ? std::string() : std::strerror(errno);
}

using File = std::unique_ptr<std::FILE, decltype([](std::FILE* file) { std::fclose(file); })>;

// Writes the copy that the server streams to `path`. The server has checked it; here it must only
// be complete.
Result<void> receive(Client& client, const std::string& path) {
  const File file(std::fopen(path.c_str(), "we"));
  if (file == nullptr) return fail(fmt::format("{}: {}", quote(path), std::strerror(errno)));
  std::uint64_t size = 0;
  std::uint64_t received = 0;
  std::string problem;
  grpc::ClientContext context;
  const auto take = [&](const mc_proxy::v1::CreateSnapshotResponse& message) {
    if (message.size() != 0) size = message.size();
    received += message.chunk().size();
    problem = append(file.get(), message.chunk());
    return problem.empty();
  };
  const grpc::Status asked = client.read(&Client::Stub::CreateSnapshot,
                                         mc_proxy::v1::CreateSnapshotRequest(), take, context);
  if (!asked.ok()) return fail(client.explain(asked));
  if (problem.empty() && std::fflush(file.get()) != 0) problem = std::strerror(errno);
  if (!problem.empty()) return fail(fmt::format("{}: {}", quote(path), problem));
  if (size == 0 || received != size) {
    return fail(fmt::format("the server sent {} of {} bytes; try again", received, size));
  }
  return {};
}

// A copy from the running server, where the path of the database is not known.
int fetch_copy(const ClientOptions& options, const std::string& output) {
  if (output.empty()) {
    complain(
        "mc-proxy: a copy over --socket or --address has no default path; name its file with -o");
    return kUsage;
  }
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto place = store::resolve(output);
  if (!place.has_value()) return report(place.error());
  // The database of a server has its lock beside it.
  if (::access(store::lock_path(*place).c_str(), F_OK) == 0) {
    complain(
        fmt::format("mc-proxy: {}: this is the database of a server, which the copy would "
                    "replace; name another file with -o",
                    quote(output)));
    return kFailed;
  }
  auto file = store::NewFile::create_for(*place);
  if (!file.has_value()) return report(file.error());
  if (auto received = receive(*client, file->temporary_path()); !received.has_value()) {
    return report(received.error());
  }
  if (auto published = file->publish(); !published.has_value()) return report(published.error());
  const auto print = options.json ? print_as_json : print_as_text;
  print(output, nullptr);
  return kDone;
}

// Copies the database, with or without a running server; then, if that succeeded, prunes.
int snapshot(const ClientOptions& options, const SnapshotOptions& snapshot) {
  const auto age = age_from(snapshot);
  if (!age.has_value()) {
    complain("mc-proxy: " + age.error().message);
    return kUsage;
  }
  if (!options.socket.empty() || !options.address.empty()) {
    return fetch_copy(options, snapshot.output);
  }
  // A backup needs only the path of the database from the configuration; with a running server not
  // even that.
  const config::Whereabouts found = config::locate_server(options.config_path);
  if (found.database_path.empty() && snapshot.output.empty()) {
    complain(
        config::to_string(found.problems) +
        "mc-proxy: a running server can make the copy without the file: name the copy with -o\n");
    return kFailed;
  }
  if (found.database_path.empty()) return fetch_copy(options, snapshot.output);
  if (!found.problems.empty()) {
    complain(
        fmt::format("mc-proxy: note: {} cannot be used (`mc-proxy check` shows why); copying the "
                    "database {} anyway",
                    options.config_path, found.database_path));
  }
  const auto path = make_copy(found.database_path, snapshot.output);
  if (!path.has_value()) return report(path.error());
  std::optional<store::Pruned> pruned;
  if (age->has_value()) {
    pruned = store::prune_backups(*path, **age, std::chrono::system_clock::now());
  }
  const auto print = options.json ? print_as_json : print_as_text;
  print(*path, pruned.has_value() ? &*pruned : nullptr);
  if (!pruned.has_value() || pruned->failures.empty()) return kDone;
  for (const Error& failure : pruned->failures) report(failure);
  return kFailed;
}

}  // namespace

void add_snapshot(CommandLine& line) {
  const auto words = std::make_shared<SnapshotOptions>();
  CLI::App& command = line.with_server(
      line.add("snapshot", "Copy the database; a server may run meanwhile",
               [words](const ClientOptions& options) { return snapshot(options, *words); }));
  command.add_option("-o,--output", words->output,
                     "Path of the copy; default: backups/mc-proxy-TIME.db beside the database; "
                     "required with --socket and --address");
  command.add_option("--prune", words->prune,
                     "Then remove backups in that directory that are older than this, such as 30d");
}

}  // namespace mc::cli
