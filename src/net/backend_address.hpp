// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a backend is: an IP address and port, with the name of a network interface where the
// address is link-local; the path of a Unix socket; or a name and port that DNS resolves. An
// interface is looked up at each connect, because it may appear later, disappear, or return with
// another number. A value; any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "net/connect_address.hpp"
#include "net/socket_address.hpp"

namespace mc {

class BackendAddress {
 public:
  enum class Kind : std::uint8_t { kIp, kUnix, kName };

  BackendAddress() = default;
  /// An address that needs no interface, or that has the number of one already.
  BackendAddress(const SocketAddress& address) : address_(address) {}  // NOLINT: it is one

  /// Reads "192.0.2.1:443", "[2001:db8::1]:443", "[fe80::1%eth0]:443", "unix:/run/app.sock" or
  /// "app.internal:443". Makes no system call. Errors name the text and the correct form. Whether a
  /// name is a good one is for the caller to check; it is in lower case, without a dot at its end.
  static Result<BackendAddress> parse(std::string_view text);

  [[nodiscard]] Kind kind() const { return kind_; }
  /// The address to connect to now; nothing if no interface has that name, and for a name.
  [[nodiscard]] std::optional<ConnectAddress> resolve() const;

  /// Without the interface, if it is known by name. Of a name only the port counts, a Unix socket
  /// has neither.
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  [[nodiscard]] IpAddress ip() const { return address_.ip(); }
  [[nodiscard]] std::uint16_t port() const { return address_.port(); }
  /// The name of the interface, or its number as a text; empty: none is needed.
  [[nodiscard]] std::string_view interface() const {
    return kind_ == Kind::kIp ? text_ : std::string_view();
  }
  /// Of a Unix socket.
  [[nodiscard]] const std::string& path() const { return text_; }
  /// Of a name.
  [[nodiscard]] const std::string& host() const { return text_; }
  /// As parse() reads it.
  [[nodiscard]] std::string to_string() const;

  bool operator==(const BackendAddress&) const = default;

 private:
  static Result<BackendAddress> parse_unix(std::string_view text);
  static std::optional<BackendAddress> read_name(std::string_view text);

  SocketAddress address_;
  std::string text_;  // the interface, the path or the host
  Kind kind_ = Kind::kIp;
};

}  // namespace mc
