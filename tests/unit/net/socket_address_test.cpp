// SPDX-License-Identifier: Apache-2.0
#include "net/socket_address.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include <cstring>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using mc::IpAddress;
using mc::SocketAddress;

namespace {

SocketAddress address(std::string_view text) { return SocketAddress::parse(text).value(); }
SocketAddress listen(std::string_view text) { return SocketAddress::parse_listen(text).value(); }
std::string error(std::string_view text) { return SocketAddress::parse(text).error().message; }
std::string listen_error(std::string_view text) {
  return SocketAddress::parse_listen(text).error().message;
}

}  // namespace

TEST_CASE("An address to connect to reads back as written") {
  CHECK(address("192.0.2.1:443").to_string() == "192.0.2.1:443");
  CHECK(address("192.0.2.1:1").to_string() == "192.0.2.1:1");
  CHECK(address("[2001:db8::1]:65535").to_string() == "[2001:db8::1]:65535");
  CHECK(address("[::ffff:192.0.2.1]:443").to_string() == "192.0.2.1:443");
}

TEST_CASE("An address has the form that the socket calls take") {
  const SocketAddress v4 = address("192.0.2.1:443");
  REQUIRE(v4.family() == AF_INET);
  REQUIRE(v4.size() == sizeof(sockaddr_in));
  sockaddr_in in{};
  std::memcpy(&in, v4.data(), sizeof(in));
  CHECK(ntohs(in.sin_port) == 443);
  CHECK(ntohl(in.sin_addr.s_addr) == 0xc0000201);

  const SocketAddress v6 = address("[2001:db8::1]:8443");
  REQUIRE(v6.family() == AF_INET6);
  REQUIRE(v6.size() == sizeof(sockaddr_in6));
  sockaddr_in6 in6{};
  std::memcpy(&in6, v6.data(), sizeof(in6));
  CHECK(ntohs(in6.sin6_port) == 8443);
  CHECK(in6.sin6_addr.s6_addr[1] == 0x01);
  CHECK(in6.sin6_scope_id == 0);
}

TEST_CASE("An IPv4-mapped peer keeps its family but is an IPv4 address to the rules") {
  sockaddr_in6 peer{};
  peer.sin6_family = AF_INET6;
  peer.sin6_port = htons(5000);
  REQUIRE(inet_pton(AF_INET6, "::ffff:192.0.2.1", &peer.sin6_addr) == 1);
  const SocketAddress from = SocketAddress::from(reinterpret_cast<const sockaddr*>(&peer));
  CHECK(from.family() == AF_INET6);
  CHECK(from.ip() == IpAddress::parse("192.0.2.1").value());
  CHECK(from.port() == 5000);
  CHECK(from.to_string() == "192.0.2.1:5000");
  CHECK_FALSE(from == address("192.0.2.1:5000"));
}

TEST_CASE("Other families are unspecified") {
  sockaddr_storage unix_peer{};
  unix_peer.ss_family = AF_UNIX;
  const SocketAddress from = SocketAddress::from(reinterpret_cast<const sockaddr*>(&unix_peer));
  CHECK(from.family() == AF_UNSPEC);
  CHECK(from.port() == 0);
  CHECK(from.to_string() == "unspecified");
  CHECK(from == SocketAddress());
}

TEST_CASE("A link-local address keeps its interface") {
  char name[IF_NAMESIZE];
  if (if_indextoname(1, name) == nullptr) return;  // a machine without interfaces
  const std::string text = "[fe80::1%" + std::string(name) + "]:443";
  CHECK(address(text).to_string() == text);
  CHECK(address("[fe80::1%1]:443") == address(text));
  CHECK_FALSE(address("[fe80::1]:443") == address(text));
}

TEST_CASE("An interface that does not exist or makes no sense is refused") {
  CHECK(
      error("[fe80::1%no-such-if]:443").contains(R"(there is no network interface "no-such-if")"));
  CHECK(error("[fe80::1%0]:443").contains("there is no network interface"));
  CHECK(error("[fe80::1%a-name-that-is-too-long]:443")
            .contains("is not the name of a network interface"));
  CHECK(error("[fe80::1%]:443").contains("the interface after '%' is missing"));
  CHECK(error("[2001:db8::1%lo]:443").contains("only a link-local address"));
}

TEST_CASE("An interface that has gone is written as its number") {
  CHECK(address("[fe80::1%4000000000]:443").to_string() == "[fe80::1%4000000000]:443");
}

TEST_CASE("Addresses are equal when host, port, family and interface are") {
  CHECK(address("192.0.2.1:443") == SocketAddress(IpAddress::v4(0xc0000201), 443));
  CHECK_FALSE(address("192.0.2.1:443") == address("192.0.2.1:444"));
  CHECK_FALSE(address("192.0.2.1:443") == address("192.0.2.2:443"));
}

TEST_CASE("A listener may leave out the host, and the port to the kernel") {
  CHECK(listen(":443").to_string() == "[::]:443");
  CHECK(listen(":443").family() == AF_INET6);
  CHECK(listen(":443") == listen("[::]:443"));
  CHECK(listen("0.0.0.0:443").family() == AF_INET);
  CHECK(listen("127.0.0.1:0").port() == 0);
  CHECK(listen(":0").port() == 0);
}

TEST_CASE("The error for a missing port or host shows the whole address as it should be") {
  CHECK(error("127.0.0.1") == R"("127.0.0.1": the port is missing; write "127.0.0.1:443")");
  CHECK(error("[::1]") == R"("[::1]": the port is missing; write "[::1]:443")");
  CHECK(error(":443") == R"(":443": the host is missing; write "127.0.0.1:443")");
  CHECK(error("").contains("the address is missing"));
  CHECK(error("127.0.0.1:").contains(R"(the port "" is not a number)"));
}

TEST_CASE("The error for IPv6 without brackets adds them") {
  CHECK(error("2001:db8::1:443").ends_with(R"(write "[2001:db8::1]:443")"));
  CHECK(error("2001:db8::abcd").ends_with(R"(write "[2001:db8::abcd]:443")"));
  CHECK(error("[::1]443").contains("like \"[2001:db8::1]:443\""));
  CHECK(error("[::1:443").contains("like \"[2001:db8::1]:443\""));
  CHECK(error("[::1]:4:43").contains("like \"[2001:db8::1]:443\""));
}

TEST_CASE("The host must be an IP address") {
  CHECK(error("localhost:443").contains(R"(the host "localhost" is not an IP address)"));
  CHECK(error("[192.0.2.1]:443").contains(R"(the host "192.0.2.1" is not an IPv6 address)"));
  CHECK(error("localhost").contains("not an ip:port"));
}

TEST_CASE("The port must be a plain number in range") {
  const std::string_view port =
      GENERATE("0", "65536", "99999999999", "-1", "+1", "0443", "443 ", " 443", "https", "4e2");
  const std::string text = "192.0.2.1:" + std::string(port);
  CHECK(error(text) ==
        '"' + text + "\": the port \"" + std::string(port) + "\" is not a number from 1 to 65535");
  CHECK(listen_error(":65536").ends_with("is not a number from 0 to 65535"));
  CHECK(listen_error(":").ends_with("is not a number from 0 to 65535"));
  CHECK(listen_error(":https").ends_with("is not a number from 0 to 65535"));
}
