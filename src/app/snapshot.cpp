// SPDX-License-Identifier: Apache-2.0
// mc-proxy snapshot: a complete copy of the database, beside a server that writes or without one.

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "app/commands.hpp"
#include "base/quote.hpp"
#include "base/result.hpp"
#include "config/config.hpp"
#include "store/store.hpp"

namespace mc::app {
namespace {

// What root makes here belongs to the server's user, who makes the next one.
void give_to_owner_of(const std::string& database, const std::string& path) {
  struct stat owner{};
  if (::geteuid() != 0 || ::stat(database.c_str(), &owner) != 0) return;
  static_cast<void>(::lchown(path.c_str(), owner.st_uid, owner.st_gid));
}

// Of the second, so that names sort by age.
std::string name_by_time() {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return fmt::format("mc-proxy-{:%Y%m%d-%H%M%S}.db", fmt::gmtime(now));
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
  return (folder / name_by_time()).string();
}

}  // namespace

int snapshot(const ClientOptions& options, const std::string& output) {
  const config::Parsed config = config::load(options.config_path, config::NamedFiles::kIgnored);
  if (!config.has_value()) {
    complain(config::to_string(config.error()));
    return kFailed;
  }
  const std::string& database = config->database.path;
  const auto destination = output.empty() ? default_output(database) : Result<std::string>(output);
  const auto made = destination.has_value() ? store::Store::snapshot_file(database, *destination)
                                            : Result<void>(std::unexpected(destination.error()));
  if (!made.has_value()) {
    complain("mc-proxy: " + made.error().message);
    return kFailed;
  }
  if (output.empty()) give_to_owner_of(database, *destination);
  struct stat file{};
  static_cast<void>(::stat(destination->c_str(), &file));
  if (options.json) {
    std::string path;
    append_json_string(path, *destination);
    fmt::print("{{\"path\": {}, \"size\": {}}}\n", path, file.st_size);
  } else {
    fmt::print("{}\n", *destination);
  }
  return kDone;
}

}  // namespace mc::app
