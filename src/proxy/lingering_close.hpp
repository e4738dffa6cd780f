// SPDX-License-Identifier: Apache-2.0
#pragma once
// The proxy's own reply to a client that it does not connect to a backend, such as a TLS alert, and
// a close that lets it arrive.

#include <cstdint>
#include <span>

#include "proxy/session_parts.hpp"
#include "ring/task.hpp"

namespace mc::proxy {

/// Sends the bytes and the end of the stream, and closes the client's socket in order. Before that
/// it drops what the client has sent and still sends, until it ends or kLingerMax has passed: a
/// close with bytes in the queue would send a RST, which overtakes them. Returns `reason`, why
/// the connection ends.
ring::Task<Reason> close_lingering(SessionParts parts, std::span<const std::uint8_t> bytes,
                                   Reason reason);

}  // namespace mc::proxy
