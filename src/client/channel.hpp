// SPDX-License-Identifier: Apache-2.0
#pragma once
// The client's way to a server, for the command line: connects, and says what is wrong when that
// does not work, and what to do. Any thread.

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "base/result.hpp"
#include "client/handshake_probe.hpp"

namespace mc::client {

/// A server on this machine. `config` is the configuration file that named the socket, and `unit`
/// the systemd unit that runs a server with that file where it is installed, for the command that
/// starts the server; empty if there is none.
struct LocalServer {
  std::string socket;
  std::string config = {};
  std::string unit = {};
};

/// Connects to the Unix socket now, so that errors say why not: no server, one that was killed, no
/// permission. A channel that loses its connection does not make another.
Result<std::shared_ptr<grpc::Channel>> connect_local(const LocalServer& server);

/// A channel with mutual TLS to `address`, "host:port" or "[2001:db8::1]:9090". Checks address and
/// files, and the dates of the client's certificate; connects with the first call, so what the
/// server thinks of it is in that call's status: see explain().
Result<std::shared_ptr<grpc::Channel>> connect_tls(const std::string& address,
                                                   const ClientTls& tls);

/// Why a call on the local socket `where` failed, and what to do. The words of the server itself
/// stay unchanged.
std::string explain(const grpc::Status& status, const std::string& where);

/// Why a call over TLS failed, and what to do. gRPC's words often do not say it, so where the
/// transport failed this makes one handshake of its own (kProbeWaitMax at most). The words of the
/// server itself stay unchanged.
std::string explain(const grpc::Status& status, const std::string& address, const ClientTls& tls);

}  // namespace mc::client
