// SPDX-License-Identifier: Apache-2.0
#include "net/sockets.hpp"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

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

// ---- queued bytes

namespace {

struct Pair {
  Fd ours;
  Fd peer;
};

Pair tcp_pair() {
  const auto listeners = open_listeners({*SocketAddress::parse_listen("127.0.0.1:0"), "here"}, 1);
  const SocketAddress address = address_of(listeners->front());
  Pair pair{.ours = {}, .peer = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  REQUIRE(::connect(pair.peer.get(), address.data(), address.size()) == 0);
  pair.ours = Fd(::accept4(listeners->front().get(), nullptr, nullptr, SOCK_NONBLOCK));
  REQUIRE(pair.ours);
  return pair;
}

Pair unix_pair() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  return {.ours = Fd(ends[0]), .peer = Fd(ends[1])};
}

void send(const Fd& fd, std::string_view text, int flags = 0) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), flags) == std::ssize(text));
}

std::string peek(const Fd& fd) {
  std::array<std::uint8_t, 64> buffer;
  const ssize_t got = mc::net::peek_queued(fd.get(), buffer);
  return {buffer.begin(), buffer.begin() + std::max<ssize_t>(got, 0)};
}

bool drop(const Fd& fd, std::size_t bytes) {
  std::array<std::uint8_t, 64> scratch;
  return mc::net::drop_queued(fd.get(), bytes, scratch);
}

}  // namespace

TEST_CASE("queued bytes are peeked and then dropped by number, and no more") {
  const bool is_unix = GENERATE(false, true);
  const Pair pair = is_unix ? unix_pair() : tcp_pair();
  send(pair.peer, "header");
  send(pair.peer, "hello");
  CHECK(peek(pair.ours).starts_with("header"));
  CHECK(drop(pair.ours, 6));
  CHECK(peek(pair.ours) == "hello");
  CHECK(drop(pair.ours, 5));
  CHECK(mc::net::peek_queued(pair.ours.get(), std::span<std::uint8_t>()) <= 0);
}

TEST_CASE("bytes with an urgent one among them are dropped as one") {
  const Pair pair = tcp_pair();
  send(pair.peer, "head!", MSG_OOB);
  send(pair.peer, "er hello");
  CHECK(peek(pair.ours) == "head");  // up to the mark
  CHECK(drop(pair.ours, 7));
  CHECK(peek(pair.ours) == " hello");
}

TEST_CASE("what came before a reset is still dropped, and then the reset is the error") {
  Pair pair = tcp_pair();
  send(pair.peer, "header");
  CHECK(peek(pair.ours) == "header");
  mc::net::reset_on_close(pair.peer.get());
  pair.peer.reset();
  CHECK(drop(pair.ours, 6));
  CHECK_FALSE(drop(pair.ours, 1));
  CHECK(errno == ECONNRESET);
}

// ---- where to connect from

TEST_CASE("a socket that is bound to a source connects from it") {
  const Fd listener = mc::test::listening_socket();
  const SocketAddress to = address_of(listener);
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(mc::net::bind_source(fd.get(), mc::IpAddress::v4(0x7f000005)));
  CHECK(address_of(fd).port() == 0);  // chosen at the connect, when the peer is known
  REQUIRE(::connect(fd.get(), to.data(), to.size()) == 0);
  CHECK(address_of(fd).ip() == mc::IpAddress::v4(0x7f000005));
  CHECK(address_of(fd).port() != 0);
}

TEST_CASE("a source that this machine does not have is an error") {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK_FALSE(mc::net::bind_source(fd.get(), mc::IpAddress::v4(0xc0000201)));
  CHECK(errno == EADDRNOTAVAIL);
}

TEST_CASE("an address of this machine is told from others") {
  CHECK(mc::net::leads_here(*SocketAddress::parse("127.0.0.7:443")));
  CHECK_FALSE(mc::net::leads_here(*SocketAddress::parse("192.0.2.1:443")));
}
