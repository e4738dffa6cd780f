// SPDX-License-Identifier: Apache-2.0
// mc-proxy upgrade: replaces the running server by a new process. It orders no server to stop: the
// new one takes over by itself (lifecycle/handover.hpp), or it fails and the old one serves on.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "admin/draining_servers.hpp"
#include "base/log.hpp"
#include "cli/complain.hpp"
#include "cli/format.hpp"
#include "config/config.hpp"
#include "control/control.hpp"
#include "lifecycle/limits.hpp"
#include "lifecycle/predecessor.hpp"
#include "lifecycle/service_job.hpp"
#include "lifecycle/spawn.hpp"
#include "net/socket_address.hpp"
#include "server/commands.hpp"

namespace mc::server {
namespace {

enum class LeaveRoutes : std::uint8_t { kNo, kYes };

constexpr std::chrono::milliseconds kLookAgain{20};

// All steps of a take-over, at their slowest.
constexpr auto kTakeOverMax = 4 * lifecycle::kStepMax;

Fd open_to_write(const std::string& path) {
  return Fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY));
}

std::optional<pid_t> server_of(const config::Config& config) {
  const auto found = lifecycle::Predecessor::find(config.database.path);
  if (!found.has_value() || *found == nullptr) return std::nullopt;
  return (*found)->pid();
}

// The running server once it is another than `old`; nothing if `child` ends before, or after
// kTakeOverMax without a change.
std::optional<pid_t> await_other(const config::Config& config, pid_t old, pid_t child) {
  const auto give_up = std::chrono::steady_clock::now() + kTakeOverMax;
  while (std::chrono::steady_clock::now() < give_up) {
    if (const auto now = server_of(config); now.has_value() && *now != old) return now;
    if (child > 0 && ::waitpid(child, nullptr, WNOHANG) == child) return std::nullopt;
    std::this_thread::sleep_for(kLookAgain);
  }
  return std::nullopt;
}

// What the old server still has to do.
std::string rest_of(const config::Config& config, pid_t old) {
  Log log({.level = LogLevel::kError});
  const auto servers = admin::DrainingServers(config.database.path, log).look();
  for (const auto& server : servers) {
    if (server.place.pid != old || !server.status.has_value()) continue;
    const std::uint64_t active = server.status->active_connections();
    if (active == 0) break;
    return fmt::format("keeps {} until {}", cli::format_items(active, "connection"),
                       active == 1 ? "it ends" : "they end");
  }
  return ::kill(old, 0) != 0 && errno == ESRCH ? "has ended" : "finishes its connections";
}

int report(const config::Config& config, const std::optional<pid_t>& now, pid_t old,
           const std::string& where) {
  if (!now.has_value()) {
    cli::complain(
        fmt::format("mc-proxy: not replaced: no other server took over from pid {}, which "
                    "continues to serve; see {} for the reason",
                    old, where));
    return cli::kFailed;
  }
  std::puts(fmt::format("pid {} serves; pid {} {}", *now, old, rest_of(config, old)).c_str());
  return cli::kDone;
}

int restart_unit(const config::Config& config, pid_t old, const std::string& unit) {
  const pid_t child =
      lifecycle::spawn({"systemctl", "restart", unit}, {}, lifecycle::ChildSession::kOurs);
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) {
    cli::complain(fmt::format(
        "mc-proxy: systemctl restart {} failed; see journalctl -u {} for the reason", unit, unit));
    return cli::kFailed;
  }
  return report(config, await_other(config, old, 0), old, "journalctl -u " + unit);
}

int start_beside(const config::Config& config, pid_t old, const std::string& config_path) {
  const Fd nothing = open_to_write("/dev/null");
  // The running server's log, if it can be opened again: a file, a pipe, a terminal.
  const Fd log = open_to_write(fmt::format("/proc/{}/fd/2", old));
  std::error_code unknown;  // then the kernel's name of it is used
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", unknown);
  const pid_t child = lifecycle::spawn(
      {unknown ? "/proc/self/exe" : self, "server", "--take-over", "-c", config_path},
      {.out = nothing.get(), .err = log ? log.get() : nothing.get()},
      lifecycle::ChildSession::kOwn);
  if (child < 0) {
    cli::complain(
        fmt::format("mc-proxy: the new server cannot be started: {}", std::strerror(errno)));
    return cli::kFailed;
  }
  return report(config, await_other(config, old, child), old,
                log ? "its log" : "the output of `mc-proxy server --take-over`");
}

// A container ends with its first process: a new server, started inside, would end with it.
int refuse_in_container() {
  cli::complain(
      "mc-proxy: not replaced: the running server is a container's first process, and the "
      "container ends with it. Start another container with the same network and volumes and the "
      "command: server --take-over");
  return cli::kFailed;
}

// The listeners that the running server has and the configuration does not, with their routes.
std::string routes_left_behind(const config::Config& config) {
  Log log({.level = LogLevel::kError});
  const auto rehearsed = control::Control::rehearse(config, log);
  const auto found = lifecycle::Predecessor::find(config.database.path);
  // The start reports these errors.
  if (!rehearsed.has_value() || !found.has_value() || *found == nullptr) return {};
  const auto report = (*found)->self_report();
  if (!report.has_value()) return {};
  std::string left;
  for (const auto& [listener, routes] : rehearsed->left_behind) {
    const auto address = SocketAddress::parse_listen(listener);
    if (!address.has_value() ||
        std::ranges::find(report->listening, address->to_string()) == report->listening.end()) {
      continue;  // it was out of use before
    }
    left += fmt::format("{}{} of listener {}", left.empty() ? "" : ", ",
                        cli::format_items(routes, "route"), listener);
  }
  return left;
}

// Replaces the running server by a new one: through systemd if that runs it, else as a process
// beside it that uses its log. Refuses to put routes out of force, because the configuration does
// not have their listener, unless `leave` permits it.
int upgrade(const cli::ClientOptions& options, LeaveRoutes leave) {
  const config::Parsed config = config::load(options.config_path);
  if (!config.has_value()) {
    cli::complain(config::to_string(config.error()));
    return cli::kFailed;
  }
  const auto old = server_of(*config);
  if (!old.has_value()) {
    cli::complain(
        fmt::format("mc-proxy: no server that this user could replace runs with the database {}; "
                    "start one, or run this as root or the server's user",
                    config->database.path));
    return cli::kUnreachable;
  }
  // 0: its process is in a container and not visible from here.
  if (*old <= 1) return refuse_in_container();
  if (leave == LeaveRoutes::kNo) {
    if (const std::string left = routes_left_behind(*config); !left.empty()) {
      cli::complain(
          fmt::format("mc-proxy: not replaced: the configuration does not have the listener of {}; "
                      "they would be kept, unused. First give them to a listener that it has: "
                      "mc-proxy routes move --keep FROM TO. To leave them, add --leave-routes",
                      left));
      return cli::kFailed;
    }
  }
  const std::string unit = lifecycle::service_of(*old);
  return unit.empty() ? start_beside(*config, *old, options.config_path)
                      : restart_unit(*config, *old, unit);
}

}  // namespace

void add_upgrade(cli::CommandLine& line) {
  const auto leave = std::make_shared<LeaveRoutes>(LeaveRoutes::kNo);
  CLI::App& command = line.with_config(
      line.add("upgrade", "Replace the running server with a new one, without refusing clients",
               [leave](const cli::ClientOptions& options) { return upgrade(options, *leave); }));
  command.add_flag_callback(
      "--leave-routes", [leave] { *leave = LeaveRoutes::kYes; },
      "Upgrade even if routes in force belong to a listener that the configuration does not have");
}

}  // namespace mc::server
