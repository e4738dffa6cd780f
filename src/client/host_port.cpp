// SPDX-License-Identifier: Apache-2.0
#include "client/host_port.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

#include "base/ascii.hpp"
#include "base/quote.hpp"

namespace mc::client {
namespace {

std::unexpected<Error> fail_with_address(const std::string& address, std::string_view problem) {
  return fail(fmt::format(
      "address {}: {}; write host:port, like localhost:9090, 192.0.2.1:9090 or [2001:db8::1]:9090",
      quote(address), problem));
}

bool is_host_character(char c) {
  return is_digit(c) || is_letter(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '%';
}

}  // namespace

Result<HostPort> HostPort::parse(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == address.npos || address.ends_with(']')) {
    return fail_with_address(address, "the port is missing");
  }
  std::string_view host = std::string_view(address).substr(0, colon);
  const std::string_view port = std::string_view(address).substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number == 0) {
    return fail_with_address(address, "the port is not a number from 1 to 65535");
  }
  const bool is_bracketed = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty()) return fail_with_address(address, "the host is missing");
  if (!std::ranges::all_of(host, is_host_character)) {
    return fail_with_address(address, "the host is neither a name nor an IP address");
  }
  if (!is_bracketed && host.contains(':')) {
    return fail_with_address(address, "an IPv6 address needs brackets");
  }
  return HostPort{.host = std::string(host), .port = std::string(port)};
}

}  // namespace mc::client
