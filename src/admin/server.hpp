// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API as it is reached: over TCP with mutual TLS, over a Unix socket, or both; with
// server reflection and gRPC's health service. Made, ticked and ended by one thread.

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
  // Sockets that listen there already; nothing: they are opened.
  Fd inherited_tcp;
  Fd inherited_local;
  // The servers that have been succeeded: their connections are listed, counted and closed too.
  // Outlives the server; null for one of them.
  const DrainingServers* draining = nullptr;
  // Of a server that has been succeeded: the one that serves may stop it.
  StopWithin stop;
  // How long a client may take to be ready, and be without a call; tests take less.
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

  /// To be called about once a second: follows the certificate files, and tells the health service
  /// how the data plane is.
  void tick();

  /// Accepts no more connections, or does so again; those that there are go on. Who connects
  /// meanwhile waits in the kernel.
  void suspend();
  void resume();
  /// Whether the Unix socket's file goes with this server, or is another process's: that of an
  /// inherited one is, at first.
  void own();
  void leave();
  /// The sockets that it listens with.
  [[nodiscard]] std::vector<int> sockets() const;
  /// The end of the certificate that is in force over TCP; nothing without TCP. Any thread.
  [[nodiscard]] std::optional<std::chrono::sys_seconds> certificate_expires_at() const;

  /// Where TCP is listened at: port 0 has become the one that the kernel chose.
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
  std::unique_ptr<DrainingService> draining_service_;  // of a server that has been succeeded
  std::unique_ptr<grpc::Server> server_;
  std::optional<bool> healthy_;  // what the health service was told last
  std::chrono::sys_days expiry_told_{};
  std::atomic<std::chrono::sys_seconds> expires_at_{};  // of the certificate, if there is one
};

}  // namespace mc::admin
