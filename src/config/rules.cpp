// SPDX-License-Identifier: Apache-2.0
#include "config/rules.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.hpp"
#include "base/quote.hpp"
#include "config/iso3166.hpp"

namespace mc::config {

Result<IpAddress> parse_blocked_ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (address || !text.contains('/')) return address;
  return fail(fmt::format("{}: a CIDR block, not one IP address; it belongs in blocked_cidrs",
                          quote(text)));
}

Result<IpPrefix> parse_blocked_cidr(std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (!address) return IpPrefix::parse(text);
  return fail(
      fmt::format("{}: one IP address, not a CIDR block; it belongs in blocked_ips", quote(text)));
}

Result<std::string> parse_blocked_country(std::string_view text) {
  if (text.size() != 2 || !std::ranges::all_of(text, is_letter)) {
    return fail(fmt::format(
        "{}: not a country code; write the two letters of ISO 3166-1, like \"DE\"", quote(text)));
  }
  const std::string code{to_upper(text[0]), to_upper(text[1])};
  if (is_country(code)) return code;
  const std::string_view meant = meant_country(code);
  if (!meant.empty()) {
    return fail(
        fmt::format("{}: not the country's code in ISO 3166-1; write \"{}\"", quote(text), meant));
  }
  return fail(fmt::format("{}: ISO 3166-1 assigns this code to no country", quote(text)));
}

Result<IpAddress> parse_source(std::string_view text) {
  auto address = IpAddress::parse(text);
  if (!address.has_value()) return address;
  if (address->is_unspecified() || address->is_multicast()) {
    return fail(
        fmt::format("{}: no interface has this address; write one of this machine's, or "
                    "leave out sources for that which the kernel chooses",
                    quote(text)));
  }
  if (address->is_link_local()) {
    return fail(
        fmt::format("{}: each interface has its own link-local addresses; write another "
                    "address of this machine",
                    quote(text)));
  }
  return address;
}

bool collide(const SocketAddress& a, const SocketAddress& b) {
  if (a.port() != b.port() || a.port() == 0) return false;
  return a == b || (a.ip().is_unspecified() && b.ip().is_unspecified());
}

bool leads_back(const BackendAddress& backend, const SocketAddress& listener) {
  if (backend.kind() != BackendAddress::Kind::kIp) return false;
  const SocketAddress& address = backend.address();
  return address == listener || (address.ip().is_loopback() && listener.takes(address));
}

}  // namespace mc::config
