// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API's transports: TCP with mutual TLS, a Unix socket, or both; with server reflection
// and gRPC's health service. Made, ticked and ended by one thread.

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin/certificate_files.hpp"
#include "admin/draining_servers.hpp"
#include "admin/draining_service.hpp"
#include "admin/limits.hpp"
#include "admin/local_socket.hpp"
#include "admin/service.hpp"
#include "admin/tcp_listener.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "control/control.hpp"
#include "net/socket_address.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::admin {

struct ServerOptions {
  std::optional<SocketAddress> addr;  // TCP, with these certificates
  rpc::CertificatePaths certificates;
  std::string socket;  // the path of the Unix socket, or empty
  std::string version;
  // Sockets that listen there already; if empty, they are opened.
  Fd inherited_tcp;
  Fd inherited_local;
  // The servers that have handed over: their connections are listed, counted and closed too.
  // Outlives the server; null in one of them.
  const DrainingServers* draining = nullptr;
  // In a server that has handed over: lets the serving one stop it.
  StopWithin stop;
  // Limits of the handshake and of a connection without a call; tests use less.
  std::chrono::milliseconds handshake_max = kHandshakeMax;
  std::chrono::milliseconds idle_max = kIdleMax;
};

class Server {
 public:
  /// Listens and serves. Errors name the address or the file, and the remedy. `control`, `traffic`
  /// and `log` outlive it.
  static Result<std::unique_ptr<Server>> start(ServerOptions options, control::Control& control,
                                               traffic::LiveTraffic& traffic, Log& log);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Ends calls that are still open after kShutdownGrace.
  ~Server();

  /// Call it about once a second: follows the certificate files, and sets the health service to the
  /// state of the data plane.
  void tick();

  /// Stops or resumes accepting connections; open ones continue. New clients wait in the kernel.
  void suspend();
  void resume();
  /// Whether this server or another process removes the Unix socket's file: an inherited one is at
  /// first another's.
  void own();
  void leave();
  /// The sockets that it listens with.
  [[nodiscard]] std::vector<int> sockets() const;
  /// When the certificate in force over TCP expires; nothing without TCP. Any thread.
  [[nodiscard]] std::optional<std::chrono::sys_seconds> certificate_expires_at() const;

  /// The TCP address, with the port that the kernel chose instead of port 0.
  [[nodiscard]] std::optional<SocketAddress> tcp_address() const;

 private:
  Server(control::Control& control, traffic::LiveTraffic& traffic, Log& log)
      : control_(control), traffic_(traffic), log_(log) {}

  Result<void> listen(ServerOptions options);
  Result<void> open_local(ServerOptions& options);
  Result<void> open_tcp(ServerOptions& options);
  void report_health();
  void follow_certificates();
  void warn_of_expiry();

  control::Control& control_;
  traffic::LiveTraffic& traffic_;
  Log& log_;
  std::unique_ptr<CertificateFiles> certificates_;
  std::unique_ptr<LocalSocket> local_;
  std::unique_ptr<TcpListener> tcp_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> tcp_door_;  // gRPC's side of it
  std::unique_ptr<Service> service_;
  std::unique_ptr<DrainingService> draining_service_;  // in a server that has handed over
  std::unique_ptr<grpc::Server> server_;
  std::optional<bool> healthy_;  // the health service's last state
  std::chrono::sys_days expiry_told_{};
  std::atomic<std::chrono::sys_seconds> expires_at_{};  // of the certificate, if there is one
};

}  // namespace mc::admin
