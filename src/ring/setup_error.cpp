// SPDX-License-Identifier: Apache-2.0
#include "ring/setup_error.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/descriptor_limit.hpp"

namespace mc::ring {

namespace {

constexpr std::string_view kAllowByProfile =
    "Run with a profile that allows io_uring_setup, io_uring_enter and io_uring_register: "
    "containers/seccomp.json of mc-proxy is the default with these three (docker run "
    "--security-opt seccomp=seccomp.json)";

int read_sysctl(const char* path) {
  std::ifstream file(path);
  int value = -1;
  return file >> value ? value : -1;
}

int read_seccomp_mode() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    int mode = 0;
    if (std::sscanf(line.c_str(), "Seccomp: %d", &mode) == 1) return mode;
  }
  return 0;
}

std::string because(const SetupError& error, std::string_view cause, std::string_view remedy) {
  return fmt::format("io_uring is not available: {} ({}: {}). {}", cause, error.call,
                     std::strerror(error.code), remedy);
}

std::string explain_refusal(const SetupError& error, const HostProbe& machine) {
  switch (machine.io_uring_disabled) {
    case 2:
      return because(error,
                     "the sysctl kernel.io_uring_disabled is 2, which forbids it to everyone",
                     "Set it to 0 with: sysctl -w kernel.io_uring_disabled=0");
    case 1:
      return because(
          error,
          "the sysctl kernel.io_uring_disabled is 1, which allows it to CAP_SYS_ADMIN and to "
          "the group of kernel.io_uring_group alone",
          "Set kernel.io_uring_group to the group of this process, or "
          "kernel.io_uring_disabled to 0");
    default:
      break;
  }
  if (machine.sysctls_hidden) {
    return because(error,
                   "the sysctl kernel.io_uring_disabled, which cannot be read from here, forbids "
                   "it, or a seccomp filter does",
                   "Look with: sysctl kernel.io_uring_disabled; if it is 0 or not there, allow "
                   "io_uring_setup, io_uring_enter and io_uring_register (systemd: "
                   "SystemCallFilter=@aio)");
  }
  if (machine.seccomp_mode == 2) {
    return because(
        error, "a seccomp filter refuses it (the default profile of Docker and containerd does)",
        kAllowByProfile);
  }
  return because(error, "a security policy refuses it",
                 "See the kernel log and the LSM's audit log (SELinux, AppArmor) for the rule");
}

// The kernel does not report which of the limits it was. If the address space has a limit, that is
// the narrower one: it is set for a purpose, and counts all of the process.
std::string explain_memory(const SetupError& error, const HostProbe& machine) {
  constexpr std::string_view kFewer = ", or set [proxy] workers lower";
  if (machine.address_space_bytes != HostProbe::kUnlimited) {
    return because(
        error,
        fmt::format("its queues do not fit into RLIMIT_AS, which is {} bytes for all "
                    "memory of this process",
                    machine.address_space_bytes),
        fmt::format("Raise it (systemd: LimitAS=infinity; shell: ulimit -v unlimited){}", kFewer));
  }
  if (machine.memlock_bytes != HostProbe::kUnlimited) {
    return because(error,
                   fmt::format("its queues do not fit into RLIMIT_MEMLOCK, which is {} bytes for "
                               "all processes of this user together",
                               machine.memlock_bytes),
                   fmt::format("Raise it (systemd: LimitMEMLOCK=infinity; shell: ulimit -l "
                               "unlimited){}",
                               kFewer));
  }
  return because(
      error, "there is no memory for its queues",
      fmt::format("Free some, or give the service more (systemd: MemoryMax=){}", kFewer));
}

std::uint64_t read_limit(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return HostProbe::kUnlimited;
  }
  return limit.rlim_cur;
}

}  // namespace

HostProbe HostProbe::probe() {
  HostProbe machine;
  utsname names{};
  if (::uname(&names) == 0) machine.kernel_release = names.release;
  machine.io_uring_disabled = read_sysctl("/proc/sys/kernel/io_uring_disabled");
  machine.sysctls_hidden = ::access("/proc/sys/kernel", F_OK) != 0;
  machine.seccomp_mode = read_seccomp_mode();
  machine.memlock_bytes = read_limit(RLIMIT_MEMLOCK);
  machine.address_space_bytes = read_limit(RLIMIT_AS);
  return machine;
}

bool kernel_is_supported(const std::string& release) {
  int major = 0;
  int minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) return false;
  return major > 6 || (major == 6 && minor >= 1);
}

Error explain(const SetupError& error, const HostProbe& machine) {
  if (!kernel_is_supported(machine.kernel_release)) {
    return {because(error,
                    fmt::format("this kernel is {}, and mc-proxy needs Linux 6.1 or newer",
                                machine.kernel_release),
                    "Boot a newer kernel")};
  }
  switch (error.code) {
    case EPERM:
    case EACCES:
      return {explain_refusal(error, machine)};
    case ENOSYS:
      if (machine.seccomp_mode == 2) {
        return {because(error, "a seccomp filter hides it (the default profile of podman does)",
                        kAllowByProfile)};
      }
      return {because(error, "this kernel was built without it",
                      "Boot a kernel with CONFIG_IO_URING=y")};
    case ENOMEM:
      return {explain_memory(error, machine)};
    case EMFILE:
    case ENFILE:
      return {because(error, "no file descriptor is left for it", kRaiseDescriptorLimit)};
    default:
      return {because(
          error, "the kernel refuses the set-up",
          "This is not expected on Linux 6.1 or newer; please report it with the line above")};
  }
}

}  // namespace mc::ring
