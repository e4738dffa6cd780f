// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a route leads: an address to connect to, with the name of a network interface where the
// address is link-local. The name is resolved at each connect, because an interface may appear
// later, disappear, or return with another number. A value; any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "net/socket_address.hpp"

namespace mc {

class BackendAddress {
 public:
  BackendAddress() = default;
  /// An address that needs no interface, or that has the number of one already.
  BackendAddress(const SocketAddress& address) : address_(address) {}  // NOLINT: it is one

  /// Reads "192.0.2.1:443", "[2001:db8::1]:443" or "[fe80::1%eth0]:443". Makes no system call.
  /// Errors name the text and the correct form.
  static Result<BackendAddress> parse(std::string_view text);

  /// The address to connect to now; nothing if no interface has that name.
  [[nodiscard]] std::optional<SocketAddress> resolve() const;

  /// Without the interface, if it is known by name.
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  [[nodiscard]] IpAddress ip() const { return address_.ip(); }
  [[nodiscard]] std::uint16_t port() const { return address_.port(); }
  /// The name of the interface, or its number as a text; empty: none is needed.
  [[nodiscard]] const std::string& interface() const { return interface_; }
  /// As parse() reads it.
  [[nodiscard]] std::string to_string() const;

  bool operator==(const BackendAddress&) const = default;

 private:
  SocketAddress address_;
  std::string interface_;
};

}  // namespace mc
