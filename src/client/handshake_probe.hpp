// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finds out why there is no TLS connection to a server, by a handshake of our own: gRPC's messages
// lack the cause. Any thread.

#include <optional>
#include <string>
#include <string_view>

#include "client/host_port.hpp"

namespace mc::client {

/// PEM files: the CA that verifies the server's certificate, and the client's own certificate and
/// key.
struct ClientTls {
  std::string ca, certificate, key;
};

/// The server to connect to. Refers to its parts, which must outlive it.
struct Endpoint {
  const std::string& address;  // as the operator wrote it
  const HostPort& host_port;
  const ClientTls& tls;
};

/// `server "host:port": PROBLEM; REMEDY`.
std::string explain(const Endpoint& endpoint, std::string_view problem, std::string_view remedy);
/// The text for a host name without an address; `cause` names the source of that error.
std::string explain_unresolved(const Endpoint& endpoint, std::string_view cause);

/// Connects as gRPC does, and returns the problem and the remedy; nothing if the handshake
/// succeeds. Takes kProbeWaitMax at most.
std::optional<std::string> probe_handshake(const Endpoint& endpoint);

}  // namespace mc::client
