// SPDX-License-Identifier: Apache-2.0
#include "admin/tcp_listener.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "admin/limits.hpp"
#include "base/quote.hpp"
#include "net/sockets.hpp"

namespace mc::admin {
namespace {

std::string name_of(const SocketAddress& address) {
  return fmt::format("grpc.addr {}", quote(address.to_string()));
}

std::unexpected<Error> fail_with_errno(const SocketAddress& address, int error) {
  return fail(fmt::format("{}: {}", name_of(address), std::strerror(error)));
}

/// Hands a connection to gRPC; see Acceptor::Handler.
int hand_over(Fd connection, int listener, grpc::experimental::ExternalConnectionAcceptor& server) {
  // If the client has reset it already, gRPC would log an error, so anyone who reaches the port
  // could fill the log.
  sockaddr_storage ignored{};
  socklen_t size = sizeof(ignored);
  if (::getpeername(connection.get(), reinterpret_cast<sockaddr*>(&ignored), &size) != 0) return -1;
  const int fd = connection.get();
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener;
  parameters.fd = connection.release();
  server.HandleNewConnection(&parameters);
  return fd;
}

}  // namespace

TcpListener::TcpListener(Fd listener, const SocketAddress& address,
                         std::unique_ptr<Acceptor> acceptor)
    : listener_(std::move(listener)), address_(address), acceptor_(std::move(acceptor)) {}

TcpListener::~TcpListener() { close(); }

Result<std::unique_ptr<TcpListener>> TcpListener::open(const SocketAddress& address) {
  auto listener = listen(address);
  if (!listener.has_value()) return std::unexpected(listener.error());
  return adopt(address, *std::move(listener));
}

Result<Fd> TcpListener::listen(const SocketAddress& address) {
  return net::open_alone({.address = address, .name = name_of(address)}, kBacklog);
}

Result<std::unique_ptr<TcpListener>> TcpListener::adopt(const SocketAddress& address, Fd listener) {
  SocketAddress bound = address;
  socklen_t size = SocketAddress::kCapacity;
  if (::getsockname(listener.get(), bound.data(), &size) != 0) {
    return fail_with_errno(address, errno);
  }
  auto acceptor = Acceptor::make(kTcpConnectionsMax);
  if (acceptor == nullptr) return fail_with_errno(address, errno);
  return std::unique_ptr<TcpListener>(
      new TcpListener(std::move(listener), bound, std::move(acceptor)));
}

void TcpListener::serve(grpc::experimental::ExternalConnectionAcceptor& server) {
  acceptor_->start(listener_, [listener = listener_.get(), &server](Fd connection) {
    return hand_over(std::move(connection), listener, server);
  });
}

void TcpListener::close() {
  acceptor_->stop();
  listener_.reset();
}

}  // namespace mc::admin
