// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connects the command line to a server; if that fails, explains why and names the remedy. Any
// thread.

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "base/result.hpp"
#include "client/handshake_probe.hpp"

namespace mc::client {

/// A server on this machine. Messages name the command that starts it, from these: `config` is the
/// configuration file that names the socket, `unit` the systemd unit that runs a server with that
/// file. Each is empty if there is none.
struct LocalServer {
  std::string socket;
  std::string config = {};
  std::string unit = {};
};

/// Connects to the Unix socket before it returns, so errors name the cause: no server, a killed
/// server, no permission. A channel that loses its connection does not reconnect.
Result<std::shared_ptr<grpc::Channel>> connect_local(const LocalServer& server);

/// A channel with mutual TLS to `address`, "host:port" or "[2001:db8::1]:9090". Checks the address,
/// the files, and the dates of the client's certificate. Connects with the first call: if the
/// server refuses, that call's status shows it; see explain().
Result<std::shared_ptr<grpc::Channel>> connect_tls(const std::string& address,
                                                   const ClientTls& tls);

/// Why a call on the local socket `where` failed, and the remedy. Returns the server's own messages
/// unchanged.
std::string explain(const grpc::Status& status, const std::string& where);

/// Why a call over TLS failed, and the remedy. gRPC's messages often lack the cause, so if the
/// transport failed this makes one handshake of its own (kProbeWaitMax at most). Returns the
/// server's own messages unchanged.
std::string explain(const grpc::Status& status, const std::string& address, const ClientTls& tls);

}  // namespace mc::client
