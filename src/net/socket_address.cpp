// SPDX-License-Identifier: Apache-2.0
#include "net/socket_address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/quote.hpp"

namespace mc {
namespace {

enum class PortZero : std::uint8_t { kRefused, kAllowed };

/// "host:port" taken apart: brackets and zone are gone from `host`.
struct Parts {
  std::string_view host, zone, port;
};

/// Why a text without a readable "host:port" shape is wrong. The commonest slips get advice of
/// their own.
std::unexpected<Error> explain_shape(std::string_view text) {
  if (text.starts_with('[')) {
    if (text.ends_with(']')) {
      return fail(fmt::format("{}: the port is missing; write \"{}:443\"", quote(text), text));
    }
    return fail(fmt::format("{}: write an IPv6 address and its port like \"[2001:db8::1]:443\"",
                            quote(text)));
  }
  if (text.empty()) {
    return fail(fmt::format("{}: the address is missing; write ip:port like \"192.0.2.1:443\"",
                            quote(text)));
  }
  // "2001:db8::1:443" is an address itself, but was probably meant as address and port.
  const auto last_colon = text.rfind(':');
  if (last_colon != text.npos && parse_port(text.substr(last_colon + 1)) &&
      IpAddress::parse(text.substr(0, last_colon))) {
    return fail(fmt::format("{}: an IPv6 address with a port stands in brackets; write \"[{}]{}\"",
                            quote(text), text.substr(0, last_colon), text.substr(last_colon)));
  }
  const auto ip = IpAddress::parse(text);
  if (!ip) {
    return fail(fmt::format("{}: not an ip:port; write one like \"192.0.2.1:443\"", quote(text)));
  }
  const std::string_view left = ip->is_v4() ? "" : "[", right = ip->is_v4() ? "" : "]";
  return fail(
      fmt::format("{}: the port is missing; write \"{}{}{}:443\"", quote(text), left, text, right));
}

Result<Parts> split(std::string_view text) {
  const bool is_bracketed = text.starts_with('[');
  const auto colon = text.rfind(':');
  const auto close = text.find(']');
  if (colon == text.npos) return explain_shape(text);
  if (is_bracketed) {
    if (close == text.npos || colon != close + 1) return explain_shape(text);
    const std::string_view inside = text.substr(1, close - 1);
    const auto percent = inside.find('%');
    const auto zone = percent == inside.npos ? std::string_view() : inside.substr(percent + 1);
    if (percent != inside.npos && zone.empty()) {
      return fail(
          fmt::format("{}: the interface after '%' is missing; write one like "
                      "\"[fe80::1%eth0]:443\"",
                      quote(text)));
    }
    return Parts{inside.substr(0, percent), zone, text.substr(colon + 1)};
  }
  if (text.find(':') != colon) return explain_shape(text);
  return Parts{text.substr(0, colon), {}, text.substr(colon + 1)};
}

/// The interface that a zone names, by name or by number.
std::optional<std::uint32_t> parse_zone(std::string_view zone) {
  char name[IF_NAMESIZE] = {};
  if (zone.size() >= sizeof(name) || zone.contains('\0')) return std::nullopt;
  std::ranges::copy(zone, name);
  if (const unsigned index = if_nametoindex(name); index != 0) return index;
  std::uint32_t index = 0;
  const auto [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), index);
  if (error != std::errc() || end != zone.data() + zone.size() || index == 0) return std::nullopt;
  return index;
}

/// Requires that the text may name the interface of this address.
Result<void> require_zone(std::string_view text, const SocketAddress& address,
                          std::string_view zone) {
  if (!address.ip().is_link_local()) {
    return fail(
        fmt::format("{}: only a link-local address (fe80::/10) takes an interface; leave out {}",
                    quote(text), quote("%" + std::string(zone))));
  }
  // What the kernel takes for a name (dev_valid_name() of Linux).
  const bool is_name = zone.size() < IF_NAMESIZE &&
                       std::ranges::all_of(
                           zone, [](unsigned char c) { return c > ' ' && c < 0x7f; }) &&
                       !zone.contains('/');
  if (is_name) return {};
  return fail(fmt::format("{}: {} is not the name of a network interface; \"ip link\" lists them",
                          quote(text), quote(zone)));
}

Result<SocketAddress::Zoned> parse_with(std::string_view text, PortZero zero) {
  const auto parts = split(text);
  if (!parts) return std::unexpected(parts.error());

  const auto ip = IpAddress::parse(parts->host);
  const bool has_brackets = text.starts_with('[');
  if (!ip || (has_brackets && !parts->host.contains(':'))) {
    const std::string_view advice =
        has_brackets ? "write one like \"[2001:db8::1]:443\"" : "write one like \"192.0.2.1:443\"";
    return fail(fmt::format("{}: the host {} is not an {} address; {}", quote(text),
                            quote(parts->host), has_brackets ? "IPv6" : "IP", advice));
  }
  const auto port = parse_port(parts->port);
  if (!port || (*port == 0 && zero == PortZero::kRefused)) {
    return fail(fmt::format("{}: the port {} is not a number from {} to 65535", quote(text),
                            quote(parts->port), zero == PortZero::kAllowed ? 0 : 1));
  }
  SocketAddress::Zoned result{SocketAddress(*ip, *port), std::string(parts->zone)};
  if (parts->zone.empty()) return result;
  if (auto right = require_zone(text, result.address, parts->zone); !right.has_value()) {
    return std::unexpected(right.error());
  }
  return result;
}

/// Resolves the interface as it is now.
Result<SocketAddress> resolve(std::string_view text, Result<SocketAddress::Zoned> parsed) {
  if (!parsed.has_value()) return std::unexpected(parsed.error());
  if (parsed->zone.empty()) return parsed->address;
  if (const auto found = parsed->address.in_zone(parsed->zone)) return *found;
  return fail(fmt::format("{}: there is no network interface {}; \"ip link\" lists them",
                          quote(text), quote(parsed->zone)));
}

}  // namespace

std::optional<std::uint16_t> parse_port(std::string_view text) {
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

SocketAddress SocketAddress::from(const sockaddr* address) {
  SocketAddress result;
  // The caller's bytes may be a sockaddr_storage, a sockaddr_in or raw memory: they are copied, not
  // cast.
  if (address->sa_family == AF_INET) {
    result.v4_ = {};
    std::memcpy(&result.v4_, address, sizeof(result.v4_));
  } else if (address->sa_family == AF_INET6) {
    result.v6_ = {};
    std::memcpy(&result.v6_, address, sizeof(result.v6_));
  }
  return result;
}

SocketAddress::SocketAddress(const IpAddress& ip, std::uint16_t port) {
  if (ip.is_v4()) {
    v4_ = {};
    v4_.sin_family = AF_INET;
    v4_.sin_port = htons(port);
    v4_.sin_addr.s_addr = htonl(ip.v4_value());
  } else {
    v6_ = {};
    v6_.sin6_family = AF_INET6;
    v6_.sin6_port = htons(port);
    std::memcpy(&v6_.sin6_addr, ip.bytes().data(), ip.bytes().size());
  }
}

Result<SocketAddress::Zoned> SocketAddress::parse_zoned(std::string_view text) {
  if (text.starts_with(':') && parse_port(text.substr(1))) {
    return fail(fmt::format("{}: the host is missing; write \"127.0.0.1{}\"", quote(text), text));
  }
  return parse_with(text, PortZero::kRefused);
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  return resolve(text, parse_zoned(text));
}

std::optional<SocketAddress> SocketAddress::in_zone(std::string_view zone) const {
  const auto index = parse_zone(zone);
  if (!index) return std::nullopt;
  SocketAddress scoped = *this;
  scoped.v6_.sin6_scope_id = *index;
  return scoped;
}

Result<SocketAddress> SocketAddress::parse_listen(std::string_view text) {
  if (text.starts_with(':') && text.find(':', 1) == text.npos) {
    const auto everywhere = parse_with("[::]" + std::string(text), PortZero::kAllowed);
    if (everywhere) return everywhere->address;
    return fail(fmt::format("{}: the port {} is not a number from 0 to 65535", quote(text),
                            quote(text.substr(1))));
  }
  return resolve(text, parse_with(text, PortZero::kAllowed));
}

socklen_t SocketAddress::size() const {
  switch (family()) {
    case AF_INET:
      return sizeof(sockaddr_in);
    case AF_INET6:
      return sizeof(sockaddr_in6);
    default:
      return sizeof(sa_family_t);
  }
}

IpAddress SocketAddress::ip() const {
  if (family() == AF_INET) return IpAddress::v4(ntohl(v4_.sin_addr.s_addr));
  IpAddress::Bytes bytes{};
  if (family() == AF_INET6) std::memcpy(bytes.data(), &v6_.sin6_addr, bytes.size());
  return IpAddress(bytes);
}

std::uint16_t SocketAddress::port() const {
  switch (family()) {
    case AF_INET:
      return ntohs(v4_.sin_port);
    case AF_INET6:
      return ntohs(v6_.sin6_port);
    default:
      return 0;
  }
}

std::string SocketAddress::to_string() const {
  if (family() != AF_INET && family() != AF_INET6) return "unspecified";
  const IpAddress address = ip();
  if (address.is_v4()) return fmt::format("{}:{}", address.to_string(), port());
  if (v6_.sin6_scope_id == 0) return fmt::format("[{}]:{}", address.to_string(), port());
  // An interface that was removed since has no name any more, but still its number.
  char name[IF_NAMESIZE];
  if (if_indextoname(v6_.sin6_scope_id, name) != nullptr) {
    return fmt::format("[{}%{}]:{}", address.to_string(), name, port());
  }
  return fmt::format("[{}%{}]:{}", address.to_string(), v6_.sin6_scope_id, port());
}

bool SocketAddress::takes(const SocketAddress& own) const {
  if (port() != own.port()) return false;
  // [::] listens on every address of both families, 0.0.0.0 on those of its own.
  return ip() == own.ip() || ip() == IpAddress() || (ip() == IpAddress::v4(0) && own.ip().is_v4());
}

bool SocketAddress::operator==(const SocketAddress& other) const {
  if (family() != other.family() || port() != other.port() || ip() != other.ip()) return false;
  return family() != AF_INET6 || v6_.sin6_scope_id == other.v6_.sin6_scope_id;
}

}  // namespace mc
