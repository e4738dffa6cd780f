// SPDX-License-Identifier: Apache-2.0
#pragma once
// The admin API's TCP port. Accepts by itself and hands the connections to gRPC, which makes the
// TLS handshakes: so clients of the port, with a certificate or without, get at most
// kTcpConnectionsMax of the proxy's descriptors.

#include <grpcpp/server_builder.h>

#include <memory>

#include "admin/acceptor.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/socket_address.hpp"

namespace mc::admin {

class TcpListener {
 public:
  /// A socket that listens at `address` and shares it with no other, for adopt(). Errors name
  /// grpc.addr and the remedy.
  static Result<Fd> listen(const SocketAddress& address);
  /// Listens at `address` and shares it with no other socket: two servers on one port would each
  /// get some of the clients, unnoticed. [::] is every address of both families. Errors name
  /// grpc.addr and the remedy.
  static Result<std::unique_ptr<TcpListener>> open(const SocketAddress& address);
  /// The same, with a socket that already listens there.
  static Result<std::unique_ptr<TcpListener>> adopt(const SocketAddress& address, Fd listener);

  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;
  ~TcpListener();

  /// Its address, with the port that the kernel chose instead of port 0. Any thread.
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  [[nodiscard]] int fd() const { return listener_.get(); }

  /// Starts the thread that accepts and hands the connections to `server`, which must belong to a
  /// started server, and must live until close(). Call it again only after suspend().
  void serve(grpc::experimental::ExternalConnectionAcceptor& server);

  /// Stops accepting; new clients wait in the kernel.
  void suspend() { acceptor_->stop(); }
  /// Stops listening. Accepted connections belong to the server and stay. Idempotent; the
  /// destructor does it too.
  void close();

 private:
  TcpListener(Fd listener, const SocketAddress& address, std::unique_ptr<Acceptor> acceptor);

  Fd listener_;
  const SocketAddress address_;
  const std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace mc::admin
