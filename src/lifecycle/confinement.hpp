// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the process gives up once it no longer needs it, so that an attacker who controls it gets
// little: capabilities, writing and executing files, system calls that no proxy makes. Rings
// restrict themselves (ring/loop.cpp). What the kernel does not support is skipped and logged.

#include <string>
#include <string_view>
#include <vector>

namespace mc::lifecycle {

/// What is in force, each in words for the log.
struct Confinement {
  std::string capabilities;  // "none", "cap_dac_override" ... or why they are kept
  std::string landlock;      // "abi 7" or why not
  std::string seccomp;       // as refused_calls(), or why not
  std::string rings;         // "7 operations allowed"; set by the caller, who makes the rings
};

/// What this server's configuration needs besides what every server does. The rest is refused.
struct ConfinementNeeds {
  bool source_addresses = false;  // [proxy] sources: bind(2) before a backend is dialled
};

/// Gives up all capabilities; root keeps those for other users' files and the memory of rings. For
/// this thread, and those that it makes later. Returns what is left.
std::string give_up_capabilities();

/// Gives up capabilities as above; forbids new privileges, changes of files outside these
/// directories, and the execution of any file. Call it before threads are made: they inherit it.
Confinement confine_early(const std::vector<std::string>& writable_directories);

/// Refuses, on all threads, the system calls that a running server does not make. Call it after the
/// rings are made.
void confine_late(Confinement& so_far, const ConfinementNeeds& needs);

/// What confine_late() would put in force: "73 system calls refused", or "72 system calls refused,
/// bind(2) allowed for [proxy] sources". Refuses nothing itself.
std::string refused_calls(const ConfinementNeeds& needs);

/// The version of Landlock that the kernel offers; 0 or less: none.
int landlock_abi();

/// The confinement of another process of this machine as the kernel shows it, without the refused
/// calls and the restrictions. Empty if it shows nothing. For `mc-proxy check`, of a server that
/// does not report itself.
std::string confinement_of(int pid);

/// "none", "all" or "net_bind_service, ipc_lock": a set in hexadecimal, as in /proc/PID/status.
std::string capability_names(std::string_view set);

}  // namespace mc::lifecycle
