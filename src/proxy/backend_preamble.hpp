// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is sent to a backend before the client's first byte: a PROXY header, which names the client,
// if its pool has that set; and PostgreSQL's request for TLS, if the client had made it. Until the
// relay begins nothing of the client's is taken, so another backend can be tried after a failure.

#include "policy/pool.hpp"
#include "proxy/session_parts.hpp"
#include "ring/task.hpp"

namespace mc::proxy {

/// What the pool of the backend says about it.
struct BackendPreamble {
  policy::SendProxy version = policy::SendProxy::kNone;
  policy::ProxyTlvs tlvs;
};

/// Whether there is anything to send.
bool has_preamble(const BackendPreamble& how, const traffic::ConnectionFacts& facts);

/// Sends it to the backend at the connected socket. Returns 0, an errno or traffic::kTlsDeclined.
/// An interruption ends it with ECANCELED.
ring::Task<int> send_preamble(SessionParts parts, BackendPreamble how, int backend);

}  // namespace mc::proxy
