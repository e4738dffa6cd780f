// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the process takes from itself once it no longer needs it, so that whoever takes the process
// over gets little: capabilities, writing and executing files, system calls that no proxy makes.
// Rings restrict themselves (ring/loop.cpp). What a kernel does not have is left out and told.

#include <string>
#include <string_view>
#include <vector>

namespace mc::lifecycle {

/// What is in force, each in words for the log.
struct Confinement {
  std::string capabilities;  // "none", "cap_dac_override" ... or why they stay
  std::string landlock;      // "abi 7" or why not
  std::string seccomp;       // "80 system calls refused" or why not
  std::string rings;         // "7 operations allowed"; said by whoever makes the rings
};

/// Gives up all capabilities but, for root, what reaching other users' files and the memory of
/// rings take. Of this thread, and those that it makes later. Tells what is left.
std::string give_up_capabilities();

/// Gives up capabilities as above; forbids new privileges; forbids to change files but below these
/// directories, and to execute any. Before threads are made: they inherit it.
Confinement confine_early(const std::vector<std::string>& writable_directories);

/// Refuses, on all threads, the system calls that a running server does not make. After the rings
/// are made.
void confine_late(Confinement& so_far);

/// The version of Landlock that the kernel offers; 0 or less: none.
int landlock_abi();

/// Of another process of this machine, as far as the kernel tells it: not what is refused and
/// restricted. Empty if it tells nothing. For `mc-proxy check`, of a server that cannot be asked.
std::string confinement_of(int pid);

/// "none", "all" or "net_bind_service, ipc_lock": a set in hexadecimal, as in /proc/PID/status.
std::string capability_names(std::string_view set);

}  // namespace mc::lifecycle
