// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/draining_place.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <tuple>

#include "base/owner.hpp"
#include "lifecycle/handover_wire.hpp"

namespace mc::lifecycle {
namespace {

constexpr std::string_view kInfix = ".draining.";

bool is_over(int error) { return error == ECONNREFUSED || error == ENOENT; }

// "4711" of "mc-proxy.db.draining.4711".
std::optional<pid_t> pid_of(std::string_view file, std::string_view stem) {
  if (!file.starts_with(stem)) return std::nullopt;
  file.remove_prefix(stem.size());
  pid_t pid = -1;
  const auto [end, error] = std::from_chars(file.data(), file.data() + file.size(), pid);
  if (error != std::errc() || end != file.data() + file.size() || pid < 0) return std::nullopt;
  return pid;
}

std::chrono::system_clock::time_point time_of(const timespec& time) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec)));
}

}  // namespace

std::string draining_path(const std::string& database_path, pid_t pid) {
  return beside_database(database_path, std::string(kInfix) + std::to_string(pid));
}

Fd open_draining_place(const std::string& database_path, pid_t pid) {
  const DrainingPlace place{.pid = pid, .path = draining_path(database_path, pid)};
  if (connect_to(place) || !is_over(errno)) {
    errno = EADDRINUSE;
    return {};
  }
  Fd listener = listen_at(place.path, SOCK_STREAM);
  if (!listener || ::fcntl(listener.get(), F_SETFL, O_NONBLOCK) != 0) return {};
  if (const auto owner = owner_beside(database_path)) give_socket(place.path, *owner);
  return listener;
}

std::string path_of_draining_place(const std::string& database_path, const Fd& place) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (::getsockname(place.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  // The directory of a long path has a name that was short-lived (net::bind_unix()).
  const std::string_view bound(address.sun_path,
                               ::strnlen(address.sun_path, sizeof address.sun_path));
  const auto dot = bound.rfind('.');
  const std::string path = beside_database(database_path, kInfix);
  const std::string name = std::filesystem::path(path).filename();
  if (dot == bound.npos || !bound.substr(0, dot + 1).ends_with(name)) return {};
  return path + std::string(bound.substr(dot + 1));
}

std::vector<DrainingPlace> find_draining_places(const std::string& database_path) {
  const std::filesystem::path stem = beside_database(database_path, kInfix);
  std::vector<DrainingPlace> found;
  std::error_code ignored;
  const std::string directory = stem.has_parent_path() ? stem.parent_path().string() : ".";
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const auto pid = pid_of(entry.path().filename().string(), stem.filename().string());
    if (!pid.has_value()) continue;
    DrainingPlace place{.pid = *pid, .path = entry.path(), .since = {}};
    struct stat file{};
    if (::lstat(place.path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) continue;
    if (!connect_to(place) && is_over(errno)) {
      ::unlink(place.path.c_str());
      continue;
    }
    place.since = time_of(file.st_mtim);
    found.push_back(std::move(place));
  }
  std::ranges::sort(found, {},
                    [](const DrainingPlace& one) { return std::tie(one.since, one.pid); });
  return found;
}

Fd connect_to(const DrainingPlace& place) {
  return connect_at(place.path, SOCK_STREAM | SOCK_NONBLOCK);
}

}  // namespace mc::lifecycle
