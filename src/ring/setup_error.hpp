// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why io_uring is not available on this machine: several causes share an errno, so this also reads
// the machine's settings, and names one cause and its remedy.

#include <cstdint>
#include <limits>
#include <string>

#include "base/result.hpp"

namespace mc::ring {

/// A failed ring set-up, as the kernel reported it.
struct SetupError {
  int code = 0;           // errno
  const char* call = "";  // the failing call
};

/// The machine's settings that affect io_uring.
struct HostProbe {
  std::string kernel_release;  // uname(2), "6.1.0-18-amd64"
  // The sysctl kernel.io_uring_disabled; -1: this kernel has no such sysctl.
  int io_uring_disabled = -1;
  bool sysctls_hidden = false;  // sysctls cannot be read here (systemd: ProcSubset=pid)
  int seccomp_mode = 0;         // /proc/self/status: 0 none, 2 filter
  static constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t memlock_bytes = 0;                 // RLIMIT_MEMLOCK, soft
  std::uint64_t address_space_bytes = kUnlimited;  // RLIMIT_AS, soft

  static HostProbe probe();
};

/// One sentence that names the cause, and one that names the remedy. Pure: `machine` is passed in.
Error explain(const SetupError& error, const HostProbe& machine);

/// Whether a release string names a kernel of at least 6.1 (DEFER_TASKRUN; older kernels are not
/// tested).
bool kernel_is_supported(const std::string& release);

}  // namespace mc::ring
