// SPDX-License-Identifier: Apache-2.0
#include "config/rules.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.hpp"
#include "config/iso3166.hpp"
#include "tls/host_name.hpp"

namespace mc::config {
namespace {

constexpr IpAddress kAnyV4 = IpAddress::v4(0);
constexpr IpAddress kAnyV6;
constexpr IpAddress kLoopbackV6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

bool is_any(const IpAddress& ip) { return ip == kAnyV4 || ip == kAnyV6; }

bool is_loopback(const IpAddress& ip) {
  return ip == kLoopbackV6 || (ip.is_v4() && ip.v4_value() >> 24 == 127);
}

char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool is_letter(char c) { return to_upper(c) >= 'A' && to_upper(c) <= 'Z'; }

}  // namespace

Result<std::string> parse_hostname(std::string_view text) {
  if (text == "*") return std::string(text);
  constexpr std::string_view kWildcard = "*.";
  const bool is_wildcard = text.starts_with(kWildcard);
  const auto host = is_wildcard ? text.substr(kWildcard.size()) : text;
  const auto name = tls::HostName::from(host);
  if (name) return std::string(is_wildcard ? kWildcard : "") + std::string(name->view());
  if (host.contains('*')) {
    return fail(fmt::format(
        "{}: a wildcard stands alone (\"*\") or for all that precedes a name (\"*.example.com\")",
        quote(text)));
  }
  return fail(
      fmt::format("{}: not a host name: {}; write one like \"app.example.com\", "
                  "\"*.example.com\" or \"*\"",
                  quote(text), tls::to_string(name.error())));
}

Result<SocketAddress> parse_backend(std::string_view text) {
  const auto address = SocketAddress::parse(text);
  if (!address || !is_any(address->ip())) return address;
  return fail(fmt::format("{}: no address to connect to; write \"127.0.0.1:{}\" for this machine",
                          quote(text), address->port()));
}

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

bool collide(const SocketAddress& a, const SocketAddress& b) {
  if (a.port() != b.port() || a.port() == 0) return false;
  return a == b || (is_any(a.ip()) && is_any(b.ip()));
}

bool leads_back(const SocketAddress& backend, const SocketAddress& listener) {
  if (backend.port() != listener.port()) return false;
  if (backend == listener) return true;
  if (!is_loopback(backend.ip())) return false;
  // [::] listens on every address of both families, 0.0.0.0 on those of its own.
  return listener.ip() == kAnyV6 || (listener.ip() == kAnyV4 && backend.ip().is_v4());
}

}  // namespace mc::config
