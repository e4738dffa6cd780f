// SPDX-License-Identifier: Apache-2.0
// The TCP port, with real connections; a counter stands in for gRPC. server_test.cpp tests it with
// gRPC.

#include "admin/tcp_listener.hpp"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "admin/limits.hpp"
#include "support/catch.hpp"
#include "unit/net/loopback.hpp"

using namespace mc;
using namespace mc::admin;

namespace {

SocketAddress address_of(const std::string& text) {
  const auto address = SocketAddress::parse_listen(text);
  REQUIRE(address.has_value());
  return *address;
}

std::unique_ptr<TcpListener> open(const std::string& text) {
  auto listener = TcpListener::open(address_of(text));
  if (!listener) FAIL(listener.error().message);
  return *std::move(listener);
}

std::string open_error(const SocketAddress& address) {
  const auto listener = TcpListener::open(address);
  return listener ? "" : listener.error().message;
}

Fd connect_to(const SocketAddress& address) {
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), address.data(), address.size()) != 0) fd.reset();
  return fd;
}

/// Keeps what gRPC would get.
class Server : public grpc::experimental::ExternalConnectionAcceptor {
 public:
  void HandleNewConnection(NewConnectionParameters* parameters) override {
    const std::lock_guard lock(mutex_);
    listener_fd = parameters->listener_fd;
    kept_.emplace_back(parameters->fd);
  }

  bool reaches(std::size_t count) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (kept() < count && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return kept() >= count;
  }
  std::size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_.size();
  }
  int first() {
    const std::lock_guard lock(mutex_);
    return kept_.front().get();
  }
  void drop_first() {
    const std::lock_guard lock(mutex_);
    kept_.front().reset();
  }

  int listener_fd = -1;

 private:
  std::mutex mutex_;
  std::vector<Fd> kept_;
};

}  // namespace

TEST_CASE("port 0 becomes one that can be asked for") {
  const auto listener = open("127.0.0.1:0");
  CHECK(listener->address().port() != 0);
  CHECK(bool(connect_to(listener->address())));
}

TEST_CASE("all of IPv6 is all of IPv4 too, and one address is that one") {
  const auto everywhere = open(":0");
  const std::uint16_t port = everywhere->address().port();
  CHECK(bool(connect_to(address_of(fmt::format("127.0.0.1:{}", port)))));
  CHECK(bool(connect_to(address_of(fmt::format("[::1]:{}", port)))));

  const auto one = open("127.0.0.1:0");
  CHECK(!connect_to(address_of(fmt::format("127.0.0.2:{}", one->address().port()))));
}

TEST_CASE("a port that another has is an error with the way to find out who") {
  const auto first = open("127.0.0.1:0");
  CHECK(open_error(first->address()) ==
        fmt::format("listen grpc.addr \"127.0.0.1:{0}\": address already in use. Another process "
                    "holds the port; see which with: ss -tlnp | grep ':{0}'",
                    first->address().port()));
  SECTION("and even one that would share it") {
    Fd sharing(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int one = 1;
    REQUIRE(::setsockopt(sharing.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0);
    const SocketAddress address = address_of("127.0.0.1:0");
    REQUIRE(::bind(sharing.get(), address.data(), address.size()) == 0);
    REQUIRE(::listen(sharing.get(), 1) == 0);
    CHECK(open_error(test::address_of(sharing)).contains("address already in use"));
  }
}

TEST_CASE("an address of another machine is an error with the way to see one's own") {
  CHECK(open_error(address_of("192.0.2.1:9090")) ==
        "listen grpc.addr \"192.0.2.1:9090\": Cannot assign requested address. No interface of "
        "this machine has that address; see: ip address. A listener whose address comes later "
        "needs freebind = true");
}

TEST_CASE("a port whose connections have not all ended can be listened at again") {
  auto first = open("127.0.0.1:0");
  const SocketAddress address = first->address();
  Server server;
  first->serve(server);
  const Fd client = connect_to(address);
  REQUIRE(server.reaches(1));
  server.drop_first();  // the server ends it first: the port is in TIME_WAIT, or on the way there
  first->close();
  first->close();
  CHECK(!connect_to(address));
  CHECK(open_error(address).empty());
}

TEST_CASE("beyond the most connections the next one waits until one ends, before any handshake") {
  const auto listener = open("127.0.0.1:0");
  Server server;
  listener->serve(server);
  std::vector<Fd> clients;
  for (std::size_t i = 0; i < kTcpConnectionsMax + 1; ++i) {
    clients.push_back(connect_to(listener->address()));
    REQUIRE(bool(clients.back()));
  }
  REQUIRE(server.reaches(kTcpConnectionsMax));
  std::this_thread::sleep_for(3 * kAcceptPause);
  CHECK(server.kept() == kTcpConnectionsMax);
  server.drop_first();
  CHECK(server.reaches(kTcpConnectionsMax + 1));
  listener->close();
}

TEST_CASE("small messages do not wait for acknowledgements") {
  const auto listener = open("127.0.0.1:0");
  Server server;
  listener->serve(server);
  const Fd client = connect_to(listener->address());
  REQUIRE(server.reaches(1));
  int value = 0;
  socklen_t size = sizeof(value);
  REQUIRE(::getsockopt(server.first(), IPPROTO_TCP, TCP_NODELAY, &value, &size) == 0);
  CHECK(value != 0);
  listener->close();
}

TEST_CASE("a connection that was reset before it was accepted is nothing to the server") {
  const auto listener = open("127.0.0.1:0");
  const linger abort{.l_onoff = 1, .l_linger = 0};
  for (int i = 0; i < 8; ++i) {
    const Fd client = connect_to(listener->address());
    REQUIRE(::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof(abort)) == 0);
  }
  Server server;
  listener->serve(server);
  const Fd client = connect_to(listener->address());
  REQUIRE(server.reaches(1));
  CHECK(server.kept() == 1);
  listener->close();
}
