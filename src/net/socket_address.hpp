// SPDX-License-Identifier: Apache-2.0
#pragma once
// An IP address with a port, in the form that the socket calls take. Unix sockets are not addresses
// here.

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "net/ip.hpp"

namespace mc {

/// Reads digits without leading zeros, 0..65535; or nothing.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text);

/// An IPv4 or IPv6 socket address. A value of 28 bytes; any thread.
class SocketAddress {
 public:
  /// Unspecified: family AF_UNSPEC.
  SocketAddress() = default;

  /// Takes what accept(2), getpeername(2) or getsockname(2) filled in. Other families than AF_INET
  /// and AF_INET6 become unspecified. The address keeps its family: ::ffff:a.b.c.d stays AF_INET6.
  static SocketAddress from(const sockaddr* address);
  SocketAddress(const IpAddress& ip, std::uint16_t port);

  /// Reads where to connect: "192.0.2.1:443" or "[2001:db8::1]:443". The host must be an IP
  /// address, the port 1..65535. Errors name the text and say what would be right (brackets, a
  /// missing port, an interface that is not there).
  static Result<SocketAddress> parse(std::string_view text);

  struct Zoned;
  /// The same, but makes no system call for the interface of a link-local address.
  static Result<Zoned> parse_zoned(std::string_view text);
  /// This IPv6 address on the interface with that name or number; nothing if there is none.
  [[nodiscard]] std::optional<SocketAddress> in_zone(std::string_view zone) const;

  /// Reads where to listen: as parse(), also ":443" (every address of both families: [::] with
  /// IPV6_V6ONLY off) and port 0 (the kernel chooses).
  static Result<SocketAddress> parse_listen(std::string_view text);

  [[nodiscard]] int family() const { return any_.sa_family; }
  [[nodiscard]] const sockaddr* data() const { return &any_; }
  [[nodiscard]] sockaddr* data() { return &any_; }
  /// The length to pass with data().
  [[nodiscard]] socklen_t size() const;
  /// Room for either family, for calls that fill an address in.
  static constexpr socklen_t kCapacity = sizeof(sockaddr_in6);

  /// The address; IPv4 and IPv4-mapped alike are IPv4 (see IpAddress).
  [[nodiscard]] IpAddress ip() const;
  [[nodiscard]] std::uint16_t port() const;
  /// "192.0.2.1:443" or "[2001:db8::1]:443"; IPv4-mapped addresses are written as IPv4.
  [[nodiscard]] std::string to_string() const;

  /// Whether a connection to `own`, an address of this machine, arrives at a socket that listens on
  /// this address, unless another one listens more specifically.
  [[nodiscard]] bool takes(const SocketAddress& own) const;

  bool operator==(const SocketAddress& other) const;

 private:
  union {
    sockaddr any_{};
    sockaddr_in v4_;
    sockaddr_in6 v6_;
  };
};

/// An address, and the interface that its text names; empty: none.
struct SocketAddress::Zoned {
  SocketAddress address;
  std::string zone;
};

static_assert(sizeof(SocketAddress) == 28, "every session holds two of these");

}  // namespace mc
