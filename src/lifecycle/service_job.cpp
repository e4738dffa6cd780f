// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/service_job.hpp"

#include <fmt/format.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "lifecycle/limits.hpp"

namespace mc::lifecycle {
namespace {

constexpr const char* kSystemd = "org.freedesktop.systemd1";

// Closes without a flush: nothing is left to send, and a flush would wait for a stuck bus.
struct CloseBus {
  void operator()(sd_bus* bus) const { ::sd_bus_close_unref(bus); }
};
struct DropMessage {
  void operator()(sd_bus_message* message) const { ::sd_bus_message_unref(message); }
};
struct Free {
  void operator()(char* text) const { std::free(text); }
};
using BusMessage = std::unique_ptr<sd_bus_message, DropMessage>;
using Text = std::unique_ptr<char, Free>;

// A connection to the system bus, with kBusMax for all calls together.
struct Bus {
  std::unique_ptr<sd_bus, CloseBus> connection;
  std::chrono::steady_clock::time_point give_up = std::chrono::steady_clock::now() + kBusMax;

  [[nodiscard]] std::uint64_t rest_us() const {
    const auto rest = std::chrono::duration_cast<std::chrono::microseconds>(
        give_up - std::chrono::steady_clock::now());
    return static_cast<std::uint64_t>(std::max<std::int64_t>(rest.count(), 0));
  }
  /// For one call, which may take the rest of the time.
  [[nodiscard]] sd_bus* in_time() const {
    // 0 would be sd-bus's own limit.
    ::sd_bus_set_method_call_timeout(connection.get(), std::max<std::uint64_t>(rest_us(), 1));
    return connection.get();
  }
};

pid_t parent_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    int parent = 0;
    if (std::sscanf(line.c_str(), "PPid: %d", &parent) == 1) return parent;
  }
  return -1;
}

// The command line of a process; the keeper's is its server's, because it has forked it.
std::string words_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid));
  return {std::istreambuf_iterator<char>(file), {}};
}

// Excludes a shell or supervisor that started the server among others, and a user's manager.
bool is_keeper_of(pid_t main, pid_t server) {
  const std::string words = words_of(server);
  return main == parent_of(server) && !words.empty() && words_of(main) == words;
}

std::unexpected<Error> fail_with(const char* what, int result) {
  return fail(fmt::format("{}: {}", what, std::strerror(-result)));
}

// A call would wait a minute and a half for a bus that accepts the connection but does not reply.
Result<Bus> open_bus() {
  Bus bus;
  sd_bus* opened = nullptr;
  int result = ::sd_bus_open_system(&opened);
  bus.connection.reset(opened);
  while (result >= 0 && ::sd_bus_is_ready(opened) == 0) {
    result = ::sd_bus_process(opened, nullptr);
    if (result != 0) continue;
    if (bus.rest_us() == 0) return fail_with("system bus", -ETIMEDOUT);
    result = ::sd_bus_wait(opened, bus.rest_us());
    if (result == -EINTR) result = 0;
  }
  if (result < 0) return fail_with("system bus", result);
  return bus;
}

// The object of the unit that a process belongs to.
Result<std::string> unit_of(const Bus& bus, pid_t pid) {
  sd_bus_message* answer = nullptr;
  int result = ::sd_bus_call_method(bus.in_time(), kSystemd, "/org/freedesktop/systemd1",
                                    "org.freedesktop.systemd1.Manager", "GetUnitByPID", nullptr,
                                    &answer, "u", static_cast<std::uint32_t>(pid));
  if (result < 0) return fail_with("unit of the process", result);
  const BusMessage message(answer);
  const char* unit = nullptr;
  result = ::sd_bus_message_read(answer, "o", &unit);
  if (result < 0) return fail_with("unit of the process", result);
  return std::string(unit);
}

// The object of the job that systemd has for the unit; empty if there is none.
Result<std::string> job_of(const Bus& bus, const std::string& unit) {
  sd_bus_message* answer = nullptr;
  int result =
      ::sd_bus_get_property(bus.in_time(), kSystemd, unit.c_str(), "org.freedesktop.systemd1.Unit",
                            "Job", nullptr, &answer, "(uo)");
  if (result < 0) return fail_with("job of the unit", result);
  const BusMessage message(answer);
  std::uint32_t id = 0;
  const char* job = nullptr;
  result = ::sd_bus_message_read(answer, "(uo)", &id, &job);
  if (result < 0) return fail_with("job of the unit", result);
  return std::string(id == 0 ? "" : job);
}

Result<std::string> type_of(const Bus& bus, const std::string& job) {
  char* type = nullptr;
  const int result =
      ::sd_bus_get_property_string(bus.in_time(), kSystemd, job.c_str(),
                                   "org.freedesktop.systemd1.Job", "JobType", nullptr, &type);
  if (result < 0) return fail_with("type of the job", result);
  return std::string(Text(type).get());
}

}  // namespace

std::string service_of(pid_t pid) {
  if (::sd_booted() <= 0) return {};
  const auto bus = open_bus();
  if (!bus.has_value()) return {};
  const auto unit = unit_of(*bus, pid);
  if (!unit.has_value()) return {};
  std::uint32_t main = 0;
  char* name = nullptr;
  if (::sd_bus_get_property_trivial(bus->in_time(), kSystemd, unit->c_str(),
                                    "org.freedesktop.systemd1.Service", "MainPID", nullptr, 'u',
                                    &main) < 0 ||
      ::sd_bus_get_property_string(bus->in_time(), kSystemd, unit->c_str(),
                                   "org.freedesktop.systemd1.Unit", "Id", nullptr, &name) < 0) {
    return {};
  }
  const Text id(name);
  const auto main_pid = static_cast<pid_t>(main);
  return main_pid == pid || is_keeper_of(main_pid, pid) ? id.get() : std::string();
}

// How an operator's stop is recognised. A job that has ended is gone, and its signal has no type. A
// stop of a unit that has failed, or waits for its next start, is done at once and leaves it
// inactive. A start that fails is not "done"; one that a condition prevents (ConditionPathExists=)
// is "done", but has evaluated the condition.
struct StopWatch::Subscription {
  Bus bus;
  std::string object;  // of the unit
  std::string unit;    // "mc-proxy.service"
  std::uint64_t condition_seen_us = 0;
  std::string job_result;  // of the unit's job that ended last; empty once it was read
  bool is_gone = false;

  static int job_removed(sd_bus_message* message, void* self, sd_bus_error*) {
    const char* unit = nullptr;
    const char* result = nullptr;
    if (::sd_bus_message_read(message, "uoss", nullptr, nullptr, &unit, &result) >= 0) {
      auto& subscription = *static_cast<Subscription*>(self);
      if (subscription.unit == unit) subscription.job_result = result;
    }
    return 0;
  }

  Result<void> begin();
  [[nodiscard]] bool is_inactive();
  /// Whether systemd has tried to start the unit since the last call.
  [[nodiscard]] bool start_was_tried();
};

Result<void> StopWatch::Subscription::begin() {
  char* name = nullptr;
  int result = ::sd_bus_get_property_string(bus.in_time(), kSystemd, object.c_str(),
                                            "org.freedesktop.systemd1.Unit", "Id", nullptr, &name);
  if (result < 0) return fail_with("name of the unit", result);
  unit = Text(name).get();
  static_cast<void>(start_was_tried());
  result =
      ::sd_bus_match_signal(bus.in_time(), nullptr, kSystemd, "/org/freedesktop/systemd1",
                            "org.freedesktop.systemd1.Manager", "JobRemoved", job_removed, this);
  if (result < 0) return fail_with("signals of systemd", result);
  result =
      ::sd_bus_call_method(bus.in_time(), kSystemd, "/org/freedesktop/systemd1",
                           "org.freedesktop.systemd1.Manager", "Subscribe", nullptr, nullptr, "");
  if (result < 0) return fail_with("subscription to systemd", result);
  return {};
}

bool StopWatch::Subscription::is_inactive() {
  char* text = nullptr;
  if (::sd_bus_get_property_string(bus.in_time(), kSystemd, object.c_str(),
                                   "org.freedesktop.systemd1.Unit", "ActiveState", nullptr,
                                   &text) < 0) {
    return false;
  }
  const Text owned(text);
  const std::string_view state = owned.get();
  return state == "inactive" || state == "failed";
}

bool StopWatch::Subscription::start_was_tried() {
  std::uint64_t evaluated_us = 0;
  if (::sd_bus_get_property_trivial(bus.in_time(), kSystemd, object.c_str(),
                                    "org.freedesktop.systemd1.Unit", "ConditionTimestampMonotonic",
                                    nullptr, 't', &evaluated_us) < 0) {
    return true;
  }
  return std::exchange(condition_seen_us, evaluated_us) != evaluated_us;
}

StopWatch::StopWatch(std::unique_ptr<Subscription> subscription)
    : subscription_(std::move(subscription)) {}

StopWatch::~StopWatch() = default;

Result<std::unique_ptr<StopWatch>> StopWatch::open() {
  auto bus = open_bus();
  if (!bus.has_value()) return std::unexpected(bus.error());
  const auto unit = unit_of(*bus, ::getpid());
  if (!unit.has_value()) return std::unexpected(unit.error());
  auto subscription = std::make_unique<Subscription>();
  subscription->bus = *std::move(bus);
  subscription->object = *unit;
  if (auto begun = subscription->begin(); !begun.has_value()) return std::unexpected(begun.error());
  return std::unique_ptr<StopWatch>(new StopWatch(std::move(subscription)));
}

bool StopWatch::is_gone() const { return subscription_->is_gone; }

int StopWatch::fd() const {
  return subscription_->is_gone ? -1 : ::sd_bus_get_fd(subscription_->bus.connection.get());
}

bool StopWatch::stop_was_ordered() {
  Subscription& seen = *subscription_;
  seen.bus.give_up = std::chrono::steady_clock::now() + kBusMax;
  bool was_stopped = false;
  for (int processed = 1; !seen.is_gone && processed > 0;) {
    processed = ::sd_bus_process(seen.bus.connection.get(), nullptr);
    seen.is_gone = processed < 0;
    if (seen.job_result.empty()) continue;
    // Always: else the next job would be taken for this start.
    const bool was_start = seen.start_was_tried();
    if (std::exchange(seen.job_result, {}) == "done" && !was_start && seen.is_inactive()) {
      was_stopped = true;
    }
  }
  return was_stopped;
}

Result<bool> restart_is_under_way() {
  if (::sd_booted() <= 0) return false;
  const auto bus = open_bus();
  if (!bus.has_value()) return std::unexpected(bus.error());
  const auto unit = unit_of(*bus, ::getpid());
  if (!unit.has_value()) return std::unexpected(unit.error());
  const auto job = job_of(*bus, *unit);
  if (!job.has_value()) return std::unexpected(job.error());
  if (job->empty()) return false;
  const auto type = type_of(*bus, *job);
  if (!type.has_value()) return std::unexpected(type.error());
  return *type == "restart";
}

}  // namespace mc::lifecycle
