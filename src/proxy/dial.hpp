// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connects a session to a backend of its route: to the only one, which is tried once; or to one of
// a pool, and if that fails to others, within the pool's retries and dial_budget. Until the relay
// begins, the client's bytes are in the kernel's queue, so a try that fails loses none of them.

#include <expected>

#include "base/fd.hpp"
#include "proxy/session_parts.hpp"
#include "ring/task.hpp"

namespace mc::proxy {

/// Returns the connected socket, or why there is none: the reason of the last try, or that of the
/// interruption. The facts then name the backend that was tried last.
ring::Task<std::expected<Fd, Reason>> dial(SessionParts parts);

}  // namespace mc::proxy
