// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/service_job.hpp"

#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "lifecycle/limits.hpp"

namespace mc::lifecycle {
namespace {

constexpr const char* kSystemd = "org.freedesktop.systemd1";

struct CloseBus {
  void operator()(sd_bus* bus) const { ::sd_bus_flush_close_unref(bus); }
};
struct DropMessage {
  void operator()(sd_bus_message* message) const { ::sd_bus_message_unref(message); }
};
struct Free {
  void operator()(char* text) const { std::free(text); }
};
using Bus = std::unique_ptr<sd_bus, CloseBus>;
using BusMessage = std::unique_ptr<sd_bus_message, DropMessage>;
using Text = std::unique_ptr<char, Free>;

Bus open_bus() {
  sd_bus* bus = nullptr;
  if (::sd_bus_open_system(&bus) < 0) return nullptr;
  Bus opened(bus);
  ::sd_bus_set_method_call_timeout(bus, std::chrono::microseconds(kBusMax).count());
  return opened;
}

// The object of the job that systemd has for the unit; empty if there is none.
std::string job_of(sd_bus& bus, const std::string& unit) {
  char* path = nullptr;
  if (::sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.c_str(), &path) < 0) return {};
  const Text owned(path);
  sd_bus_message* answer = nullptr;
  if (::sd_bus_get_property(&bus, kSystemd, path, "org.freedesktop.systemd1.Unit", "Job", nullptr,
                            &answer, "(uo)") < 0) {
    return {};
  }
  const BusMessage message(answer);
  std::uint32_t id = 0;
  const char* job = nullptr;
  if (::sd_bus_message_read(answer, "(uo)", &id, &job) < 0 || id == 0) return {};
  return job;
}

std::string type_of(sd_bus& bus, const std::string& job) {
  char* type = nullptr;
  if (::sd_bus_get_property_string(&bus, kSystemd, job.c_str(), "org.freedesktop.systemd1.Job",
                                   "JobType", nullptr, &type) < 0) {
    return {};
  }
  return Text(type).get();
}

}  // namespace

std::string service_of(pid_t pid) {
  char* unit = nullptr;
  if (::sd_pid_get_unit(pid, &unit) < 0) return {};
  const std::string name = Text(unit).get();
  return name.ends_with(".service") ? name : std::string();
}

bool restart_is_under_way() {
  if (::sd_booted() <= 0) return false;
  const std::string unit = service_of(::getpid());
  const Bus bus = unit.empty() ? nullptr : open_bus();
  if (bus == nullptr) return false;
  const std::string job = job_of(*bus, unit);
  return !job.empty() && type_of(*bus, job) == "restart";
}

}  // namespace mc::lifecycle
