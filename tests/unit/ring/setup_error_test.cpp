// SPDX-License-Identifier: Apache-2.0
#include "ring/setup_error.hpp"

#include <cerrno>

#include "support/catch.hpp"

using mc::ring::explain;
using mc::ring::HostProbe;
using mc::ring::SetupError;

namespace {

HostProbe modern() {
  HostProbe machine;
  machine.kernel_release = "6.1.0-40-amd64";
  machine.io_uring_disabled = 0;
  machine.memlock_bytes = 65536;
  return machine;
}

bool says(const mc::Error& error, const std::string& words) {
  INFO(error.message);
  const bool found = error.message.find(words) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("each cause of a missing io_uring is told apart and names its remedy") {
  HostProbe machine = modern();

  SECTION("the sysctl at 2") {
    machine.io_uring_disabled = 2;
    const auto error = explain({EPERM, "io_uring_setup"}, machine);
    says(error, "kernel.io_uring_disabled is 2");
    says(error, "sysctl -w kernel.io_uring_disabled=0");
  }
  SECTION("sysctls that cannot be seen") {
    machine.io_uring_disabled = -1;
    machine.sysctls_hidden = true;
    machine.seccomp_mode = 2;
    const auto error = explain({EPERM, "io_uring_setup"}, machine);
    says(error, "cannot be read from here");
    says(error, "Look with: sysctl kernel.io_uring_disabled");
  }
  SECTION("the sysctl at 1") {
    machine.io_uring_disabled = 1;
    const auto error = explain({EPERM, "io_uring_setup"}, machine);
    says(error, "kernel.io_uring_disabled is 1");
    says(error, "io_uring_group");
  }
  SECTION("Docker's seccomp profile answers EPERM") {
    machine.seccomp_mode = 2;
    const auto error = explain({EPERM, "io_uring_setup"}, machine);
    says(error, "seccomp filter refuses it");
    says(error, "profile that allows io_uring_setup, io_uring_enter and io_uring_register");
    says(error, "containers/seccomp.json");
  }
  SECTION("podman's seccomp profile answers ENOSYS") {
    machine.seccomp_mode = 2;
    const auto error = explain({ENOSYS, "io_uring_setup"}, machine);
    says(error, "seccomp filter hides it");
  }
  SECTION("a kernel built without it") {
    const auto error = explain({ENOSYS, "io_uring_setup"}, machine);
    says(error, "CONFIG_IO_URING");
  }
  SECTION("RLIMIT_MEMLOCK too low") {
    const auto error = explain({ENOMEM, "io_uring_setup"}, machine);
    says(error, "65536 bytes");
    says(error, "LimitMEMLOCK=infinity");
  }
  SECTION("RLIMIT_AS too low") {
    machine.address_space_bytes = 40'000'000;
    const auto error = explain({ENOMEM, "io_uring_setup"}, machine);
    says(error, "RLIMIT_AS, which is 40000000 bytes");
    says(error, "LimitAS=infinity");
  }
  SECTION("no limit, and no memory") {
    machine.memlock_bytes = HostProbe::kUnlimited;
    const auto error = explain({ENOMEM, "io_uring_setup"}, machine);
    says(error, "there is no memory for its queues");
    says(error, "MemoryMax=");
  }
  SECTION("an old kernel, whatever the errno") {
    machine.kernel_release = "5.15.0-91-generic";
    const auto error = explain({EINVAL, "io_uring_setup"}, machine);
    says(error, "5.15.0-91-generic");
    says(error, "Linux 6.1 or newer");
  }
  SECTION("a security module") {
    const auto error = explain({EPERM, "io_uring_setup"}, machine);
    says(error, "security policy");
  }
  SECTION("no descriptor left") {
    const auto error = explain({EMFILE, "io_uring_setup"}, machine);
    says(error, "RLIMIT_NOFILE");
  }
}

TEST_CASE("kernel releases are compared by number") {
  CHECK(mc::ring::kernel_is_supported("6.1.0"));
  CHECK(mc::ring::kernel_is_supported("6.18.44-fc"));
  CHECK(mc::ring::kernel_is_supported("10.0"));
  CHECK_FALSE(mc::ring::kernel_is_supported("6.0.19"));
  CHECK_FALSE(mc::ring::kernel_is_supported("5.19.0"));
  CHECK_FALSE(mc::ring::kernel_is_supported("unknown"));
}

TEST_CASE("the machine says what it is") {
  const HostProbe machine = HostProbe::probe();
  CHECK(mc::ring::kernel_is_supported(machine.kernel_release));
  CHECK(machine.memlock_bytes > 0);
}
