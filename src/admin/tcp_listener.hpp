// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API's TCP port. Accepts by itself and hands the connections to gRPC, which makes the
// TLS handshakes: whoever can reach the port, with a certificate or without, gets no more than
// kTcpConnectionsMax of the descriptors that the proxy lives on.

#include <grpcpp/server_builder.h>

#include <memory>

#include "admin/acceptor.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/socket_address.hpp"

namespace mc::admin {

class TcpListener {
 public:
  /// A socket that listens at `address`, alone, for adopt(). Errors name grpc.addr and the remedy.
  static Result<Fd> listen(const SocketAddress& address);
  /// Listens at `address`, alone: two servers on one port would share its clients, and neither
  /// would know. [::] is every address of both families. Errors name grpc.addr and the remedy.
  static Result<std::unique_ptr<TcpListener>> open(const SocketAddress& address);
  /// The same with a socket that listens there already.
  static Result<std::unique_ptr<TcpListener>> adopt(const SocketAddress& address, Fd listener);

  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;
  ~TcpListener();

  /// Where it listens: port 0 has become the one that the kernel chose. Any thread.
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  [[nodiscard]] int fd() const { return listener_.get(); }

  /// Starts the thread that accepts and hands the connections to `server`, which must be that of a
  /// server that is started, and must live until close(). Again only after suspend().
  void serve(grpc::experimental::ExternalConnectionAcceptor& server);

  /// Accepts no more; who connects waits in the kernel.
  void suspend() { acceptor_->stop(); }
  /// Stops listening. Connections that were accepted are the server's and stay. Idempotent; also
  /// done by the destructor.
  void close();

 private:
  TcpListener(Fd listener, const SocketAddress& address, std::unique_ptr<Acceptor> acceptor);

  Fd listener_;
  const SocketAddress address_;
  const std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace mc::admin
