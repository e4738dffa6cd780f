// SPDX-License-Identifier: Apache-2.0
#pragma once
// A listener for plain HTTP: it reads one request, and redirects names that have a route to https.
// Challenges of a certificate authority go to a pool, with every byte still in the socket.

#include "proxy/session_parts.hpp"
#include "ring/task.hpp"

namespace mc::proxy {

/// Reads the request. Returns kNone if the facts have a pool to go to; else it has replied, and the
/// client's socket is closed, or the client has left.
ring::Task<Reason> redirect(SessionParts parts);

}  // namespace mc::proxy
