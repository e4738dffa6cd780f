// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why there is no connection to a server over TLS: a handshake of our own says what gRPC's words do
// not. Any thread.

#include <optional>
#include <string>
#include <string_view>

#include "client/host_port.hpp"

namespace mc::client {

/// PEM files: the CA that the server's certificate is verified by, and what the client shows.
struct ClientTls {
  std::string ca, certificate, key;
};

/// The server that was asked for. Refers to its parts, which outlive it.
struct Endpoint {
  const std::string& address;  // as the operator wrote it
  const HostPort& host_port;
  const ClientTls& tls;
};

/// `server "host:port": PROBLEM; REMEDY`.
std::string say(const Endpoint& endpoint, std::string_view problem, std::string_view remedy);
/// That the host's name has no address; `cause` says who found that.
std::string explain_unresolved(const Endpoint& endpoint, std::string_view cause);

/// Connects as gRPC does and returns what is wrong, with what to do; nothing if all is well. Takes
/// kProbeWaitMax at most.
std::optional<std::string> probe_handshake(const Endpoint& endpoint);

}  // namespace mc::client
