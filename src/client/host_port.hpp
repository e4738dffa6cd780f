// SPDX-License-Identifier: Apache-2.0
#pragma once
// "host:port" as an operator writes the address of a server. Pure; any thread.

#include <string>

#include "base/result.hpp"

namespace mc::client {

struct HostPort {
  std::string host;  // without brackets
  std::string port;

  /// Reads "localhost:9090", "192.0.2.1:9090" or "[2001:db8::1]:9090". Errors name the address and
  /// the correct form.
  static Result<HostPort> parse(const std::string& address);
};

}  // namespace mc::client
