// SPDX-License-Identifier: Apache-2.0
#pragma once
// What connect(2) takes: an IP address with a port, or the path of a Unix socket. A value; any
// thread.

#include <sys/socket.h>
#include <sys/un.h>

#include <string_view>

#include "net/socket_address.hpp"

namespace mc {

class ConnectAddress {
 public:
  ConnectAddress(const SocketAddress& address);  // NOLINT: it is one
  /// `path` has at most net::kUnixPathMax bytes, and no zero byte.
  static ConnectAddress unix_socket(std::string_view path);

  [[nodiscard]] int family() const { return any_.sa_family; }
  [[nodiscard]] bool is_unix() const { return family() == AF_UNIX; }
  [[nodiscard]] const sockaddr* data() const { return &any_; }
  /// The length to pass with data().
  [[nodiscard]] socklen_t size() const { return size_; }
  /// Unspecified for a Unix socket.
  [[nodiscard]] SocketAddress ip_address() const { return SocketAddress::from(&any_); }

 private:
  ConnectAddress() = default;

  union {
    sockaddr any_{};
    sockaddr_in v4_;
    sockaddr_in6 v6_;
    sockaddr_un unix_;
  };
  socklen_t size_ = 0;
};

}  // namespace mc
