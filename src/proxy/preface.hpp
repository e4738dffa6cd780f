// SPDX-License-Identifier: Apache-2.0
#pragma once
// What may come before the ClientHello, where the listener's settings say so: a PROXY header, which
// names the client; silence, of a client whose server speaks first; PostgreSQL's request for TLS.
// Takes the bytes of the header and of the request from the socket, and no other.

#include "proxy/session_parts.hpp"
#include "ring/task.hpp"

namespace mc::proxy {

/// Whether anything may come before the hello of a client of this listener.
bool has_preface(const policy::ListenerSettings& listener);

/// Whether the peer may convey a client by a PROXY header.
bool is_trusted_proxy(const policy::ListenerSettings& listener, const IpAddress& peer);

/// Reads all of it. Returns kNone when the session goes on: to the hello, or to a pool if the facts
/// have another way already.
ring::Task<Reason> read_preface(SessionParts parts);

}  // namespace mc::proxy
