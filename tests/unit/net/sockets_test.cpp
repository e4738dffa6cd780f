// SPDX-License-Identifier: Apache-2.0
#include "net/sockets.hpp"

#include <fcntl.h>
#include <netinet/tcp.h>

#include <set>

#include "support/catch.hpp"
#include "unit/net/loopback.hpp"

using mc::Fd;
using mc::SocketAddress;
using mc::net::open_listeners;
using mc::test::address_of;

namespace {

int option(const Fd& fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(fd.get(), level, name, &value, &size) == 0);
  return value;
}

}  // namespace

TEST_CASE("the listeners of one address share its port, also one that the kernel chose") {
  const auto listeners = open_listeners({*SocketAddress::parse_listen("127.0.0.1:0"), "here"}, 3);
  REQUIRE(listeners.has_value());
  REQUIRE(listeners->size() == 3);
  std::set<std::uint16_t> ports;
  for (const Fd& fd : *listeners) ports.insert(address_of(fd).port());
  CHECK(ports.size() == 1);
}

TEST_CASE(
    "an address that is taken is an error that says whom to ask, even if its owner would share") {
  const auto first = open_listeners({*SocketAddress::parse_listen("127.0.0.1:0"), "first"}, 1);
  REQUIRE(first.has_value());
  const SocketAddress taken = address_of(first->front());
  const auto second = open_listeners({taken, taken.to_string()}, 1);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().message.find("address already in use") != std::string::npos);
  CHECK(second.error().message.find("ss -tlnp") != std::string::npos);
  CHECK(second.error().message.find(std::to_string(taken.port())) != std::string::npos);
}

TEST_CASE("an address of no interface is an error that names it") {
  const auto none =
      open_listeners({*SocketAddress::parse_listen("192.0.2.1:4443"), "192.0.2.1:4443"}, 1);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().message.find("listen 192.0.2.1:4443") != std::string::npos);
  CHECK(none.error().message.find("ip address") != std::string::npos);
}

TEST_CASE("the unspecified address serves both families, any other just its own") {
  const auto every = open_listeners({*SocketAddress::parse_listen(":0"), ":0"}, 1);
  REQUIRE(every.has_value());
  CHECK(option(every->front(), IPPROTO_IPV6, IPV6_V6ONLY) == 0);
  const auto one = open_listeners({*SocketAddress::parse_listen("[::1]:0"), "[::1]:0"}, 1);
  REQUIRE(one.has_value());
  CHECK(option(one->front(), IPPROTO_IPV6, IPV6_V6ONLY) == 1);
}

TEST_CASE("clients inherit the options of streams, and backends get the same") {
  const auto listeners = open_listeners({*SocketAddress::parse_listen("127.0.0.1:0"), "here"}, 1);
  REQUIRE(listeners.has_value());
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = address_of(listeners->front());
  REQUIRE(::connect(client.get(), address.data(), address.size()) == 0);
  const Fd accepted(::accept4(listeners->front().get(), nullptr, nullptr, SOCK_NONBLOCK));
  const Fd backend = mc::net::open_backend_socket(address);
  for (const Fd* const fd : {&accepted, &backend}) {
    CHECK(option(*fd, IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK(option(*fd, SOL_SOCKET, SO_OOBINLINE) != 0);
    CHECK((::fcntl(fd->get(), F_GETFL) & O_NONBLOCK) != 0);
  }
}
