// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/service_unit.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <ranges>
#include <utility>

#include "base/fd.hpp"
#include "lifecycle/limits.hpp"
#include "lifecycle/spawn.hpp"

namespace mc::lifecycle {
namespace {

// systemctl instead of the bus: as root it also reaches systemd where no bus runs.
std::vector<std::string> words_that_ask(const std::string& name) {
  return {"systemctl",
          "show",
          "--property=Id,LoadState,ActiveState,User,ExecStart,RuntimeDirectory,AmbientCapabilities,"
          "NFileDescriptorStore,LimitNOFILE,LimitMEMLOCK,Listen",
          "--",
          name + ".service",
          name + ".socket"};
}

// The command's stdout; nothing if it fails, or does not end in time.
std::optional<std::string> output_of(const std::vector<std::string>& words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const Fd nothing(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const pid_t child =
      spawn(words, {.out = writing.get(), .err = nothing.get()}, ChildSession::kOurs);
  if (child < 0) return std::nullopt;
  writing.reset();

  const auto give_up = std::chrono::steady_clock::now() + kUnitAnswerMax;
  std::string text;
  std::array<char, 4096> some{};
  bool is_whole = false;
  while (!is_whole && text.size() < kUnitBytesMax) {
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(
        give_up - std::chrono::steady_clock::now());
    pollfd waited{.fd = reading.get(), .events = POLLIN, .revents = 0};
    if (rest.count() <= 0 || ::poll(&waited, 1, static_cast<int>(rest.count())) <= 0) break;
    const ssize_t size = ::read(reading.get(), some.data(), some.size());
    if (size < 0) break;
    is_whole = size == 0;
    text.append(some.data(), static_cast<std::size_t>(size));
  }
  if (!is_whole) ::kill(child, SIGKILL);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) return std::nullopt;
  return text;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (const auto word : std::views::split(text, ' ')) {
    if (!word.empty()) words.emplace_back(word.begin(), word.end());
  }
  return words;
}

std::optional<rlim_t> limit_of(std::string_view text) {
  if (text == "infinity") return RLIM_INFINITY;
  rlim_t limit = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, limit);
  return read.ec == std::errc() && read.ptr == end ? std::optional(limit) : std::nullopt;
}

// "{ path=/usr/bin/mc-proxy ; argv[]=/usr/bin/mc-proxy server -c FILE ; ignore_errors=no ; … }"
std::string command_of(std::string_view text) {
  constexpr std::string_view kKey = "argv[]=";
  const auto begin = text.find(kKey);
  if (begin == text.npos) return {};
  const std::string_view rest = text.substr(begin + kKey.size());
  return std::string(rest.substr(0, rest.find(" ; ")));
}

// What systemctl prints of one unit: "Key=value" lines.
struct Facts {
  std::string id;
  bool is_loaded = false;
  bool is_active = false;
  std::vector<SocketAddress> listens;
};

void take(std::string_view line, Facts& facts, ServiceUnit& unit) {
  const auto equals = line.find('=');
  if (equals == line.npos) return;
  const std::string_view key = line.substr(0, equals);
  const std::string_view value = line.substr(equals + 1);
  if (key == "Id") {
    facts.id = value;
  } else if (key == "LoadState") {
    facts.is_loaded = value == "loaded";
  } else if (key == "ActiveState") {
    facts.is_active = value == "active";
  } else if (key == "User") {
    unit.user = value;
  } else if (key == "ExecStart") {
    unit.command = command_of(value);
  } else if (key == "RuntimeDirectory") {
    for (const std::string& word : words_of(value)) {
      unit.runtime_directories.push_back("/run/" + word);
    }
  } else if (key == "AmbientCapabilities") {
    unit.binds_low_ports = value.contains("cap_net_bind_service");
  } else if (key == "NFileDescriptorStore") {
    unit.stores_sockets = value != "0" && !value.empty();
  } else if (key == "LimitNOFILE") {
    unit.descriptors_max = limit_of(value);
  } else if (key == "LimitMEMLOCK") {
    unit.locked_memory_max = limit_of(value);
  } else if (key == "Listen") {  // "[::]:443 (Stream)"
    const auto address = SocketAddress::parse(value.substr(0, value.find(' ')));
    if (address.has_value()) facts.listens.push_back(*address);
  }
}

}  // namespace

bool ServiceUnit::uses(const std::string& config_path) const {
  std::error_code error;
  const auto same = [&](const std::string& word) {
    return word.starts_with('/') &&
           (word == config_path || std::filesystem::equivalent(word, config_path, error));
  };
  const std::vector<std::string> words = words_of(command);
  return std::ranges::any_of(words, same);
}

std::optional<ServiceUnit> parse_service_unit(std::string_view text) {
  std::optional<ServiceUnit> service;
  std::vector<SocketAddress> sockets;
  for (const auto block : std::views::split(text, std::string_view("\n\n"))) {
    Facts facts;
    ServiceUnit unit;
    const std::string_view lines(block.begin(), block.end());
    for (const auto line : std::views::split(lines, '\n')) {
      take(std::string_view(line.begin(), line.end()), facts, unit);
    }
    unit.name = facts.id;
    if (!facts.is_loaded) continue;
    if (facts.id.ends_with(".service")) service = std::move(unit);
    if (facts.id.ends_with(".socket") && facts.is_active) sockets = std::move(facts.listens);
  }
  if (service.has_value()) service->sockets = std::move(sockets);
  return service;
}

std::optional<ServiceUnit> find_service_unit(const std::string& name) {
  const auto text = output_of(words_that_ask(name));
  return text.has_value() ? parse_service_unit(*text) : std::nullopt;
}

}  // namespace mc::lifecycle
