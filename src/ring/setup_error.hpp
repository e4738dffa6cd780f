// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why io_uring cannot be had on this machine: the kernel answers with an errno that several causes
// share, so this looks at what else the machine says and names one cause and its remedy.

#include <cstdint>
#include <limits>
#include <string>

#include "base/result.hpp"

namespace mc::ring {

/// A failed ring set-up, as the kernel said it.
struct SetupError {
  int code = 0;           // errno
  const char* call = "";  // the failing call
};

/// What the machine says about itself that bears on io_uring.
struct HostProbe {
  std::string kernel_release;  // uname(2), "6.1.0-18-amd64"
  // The sysctl kernel.io_uring_disabled; -1: this kernel has no such sysctl.
  int io_uring_disabled = -1;
  bool sysctls_hidden = false;  // nothing is known of sysctls here (systemd: ProcSubset=pid)
  int seccomp_mode = 0;         // /proc/self/status: 0 none, 2 filter
  static constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t memlock_bytes = 0;                 // RLIMIT_MEMLOCK, soft
  std::uint64_t address_space_bytes = kUnlimited;  // RLIMIT_AS, soft

  static HostProbe probe();
};

/// One sentence that names the cause, and one that names the remedy. Pure: the machine's answers
/// are passed in.
Error explain(const SetupError& error, const HostProbe& machine);

/// Whether a release string names a kernel of at least 6.1 (DEFER_TASKRUN; what this program is
/// tested on).
bool kernel_is_supported(const std::string& release);

}  // namespace mc::ring
