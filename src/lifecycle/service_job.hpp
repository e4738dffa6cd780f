// SPDX-License-Identifier: Apache-2.0
#pragma once
// What systemd is about to do with the unit that a process belongs to, as systemd says on the
// system bus (org.freedesktop.systemd1(5)). One thread at a time.

#include <sys/types.h>

#include <string>

#include "base/result.hpp"

namespace mc::lifecycle {

/// Whether systemd is restarting the unit of this process, and will so start it again. An error
/// where systemd runs but does not say: no bus, no answer within kBusMax.
Result<bool> restart_is_under_way();

/// The system's service unit that this process is the server of: its main process, or the child of
/// the keeper that is. "mc-proxy.service". Empty if there is none, also where the process only
/// happens to be in a unit, or is one of those that the unit's main process has started.
std::string service_of(pid_t pid);

}  // namespace mc::lifecycle
