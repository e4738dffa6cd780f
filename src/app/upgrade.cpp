// SPDX-License-Identifier: Apache-2.0
// mc-proxy upgrade: a new process in the place of the running server. It asks nobody to stop: the
// new one takes over by itself (lifecycle/handover.hpp), or it fails and the old one serves on.

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "app/commands.hpp"
#include "config/config.hpp"
#include "lifecycle/limits.hpp"
#include "lifecycle/predecessor.hpp"
#include "lifecycle/service_job.hpp"

namespace mc::app {
namespace {

constexpr std::chrono::milliseconds kLookAgain{20};

// All steps of a take-over, each as slow as it may be.
constexpr auto kTakeOverMax = 4 * lifecycle::kStepMax;

// A child process with these words; its stderr is a file, or this process's own. -1, with errno.
pid_t spawn(const std::vector<std::string>& words, const std::optional<std::string>& log,
            short flags) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (log.has_value()) {
    ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log->c_str(), O_WRONLY | O_APPEND, 0);
  }
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, flags);
  pid_t pid = -1;
  errno = ::posix_spawnp(&pid, words.front().c_str(), &files, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  return errno == 0 ? pid : -1;
}

// Where the running server logs, if that can be opened anew: a file, a pipe, a terminal.
std::string log_of(pid_t server) {
  const std::string path = fmt::format("/proc/{}/fd/2", server);
  const Fd opened(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY));
  return opened ? path : "/dev/null";
}

std::optional<pid_t> server_of(const config::Config& config) {
  const auto found = lifecycle::Predecessor::find(config.database.path);
  if (!found.has_value() || *found == nullptr) return std::nullopt;
  return (*found)->pid();
}

// The server that runs once it is another than `old`; nothing if `child` ends before, or for
// kTakeOverMax nothing happens.
std::optional<pid_t> await_other(const config::Config& config, pid_t old, pid_t child) {
  const auto give_up = std::chrono::steady_clock::now() + kTakeOverMax;
  while (std::chrono::steady_clock::now() < give_up) {
    if (const auto now = server_of(config); now.has_value() && *now != old) return now;
    if (child > 0 && ::waitpid(child, nullptr, WNOHANG) == child) return std::nullopt;
    std::this_thread::sleep_for(kLookAgain);
  }
  return std::nullopt;
}

int tell(const std::optional<pid_t>& now, pid_t old, const std::string& where) {
  if (!now.has_value()) {
    complain(
        fmt::format("mc-proxy: not replaced: no other server took over from pid {}, which "
                    "serves on; {} says why",
                    old, where));
    return kFailed;
  }
  std::puts(fmt::format("pid {} serves; pid {} finishes its connections", *now, old).c_str());
  return kDone;
}

int restart_unit(const config::Config& config, pid_t old, const std::string& unit) {
  const pid_t child = spawn({"systemctl", "restart", unit}, std::nullopt, 0);
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) {
    complain(fmt::format("mc-proxy: systemctl restart {} failed; journalctl -u {} says why", unit,
                         unit));
    return kFailed;
  }
  return tell(await_other(config, old, 0), old, "journalctl -u " + unit);
}

int start_beside(const config::Config& config, pid_t old, const std::string& config_path) {
  const std::string log = log_of(old);
  std::error_code unknown;  // then the kernel's name of it must do
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", unknown);
  const pid_t child =
      spawn({unknown ? "/proc/self/exe" : self, "server", "--take-over", "-c", config_path}, log,
            POSIX_SPAWN_SETSID);
  if (child < 0) {
    complain(fmt::format("mc-proxy: the new server cannot be started: {}", std::strerror(errno)));
    return kFailed;
  }
  return tell(await_other(config, old, child), old,
              log == "/dev/null" ? "`mc-proxy server --take-over`, run by hand," : "its log");
}

// A container ends with its first process, and the new server, started inside, would end with it.
int refuse_in_container() {
  complain(
      "mc-proxy: not replaced: the running server is a container's first process, and all of a "
      "container ends with that. Start another container with the same network and volumes and "
      "the command: server --take-over");
  return kFailed;
}

}  // namespace

int upgrade(const ClientOptions& options) {
  const config::Parsed config = config::load(options.config_path);
  if (!config.has_value()) {
    complain(config::to_string(config.error()));
    return kFailed;
  }
  const auto old = server_of(*config);
  if (!old.has_value()) {
    complain(
        fmt::format("mc-proxy: no server that this user could replace runs with the database "
                    "{}; start one, or ask as root or the server's user",
                    config->database.path));
    return kUnreachable;
  }
  // 0: of a container whose processes cannot be seen from here.
  if (*old <= 1) return refuse_in_container();
  const std::string unit = lifecycle::service_of(*old);
  return unit.empty() ? start_beside(*config, *old, options.config_path)
                      : restart_unit(*config, *old, unit);
}

}  // namespace mc::app
