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

// Or the limited broadcast address.
bool is_multicast(const IpAddress& ip) {
  if (!ip.is_v4()) return ip.bytes()[0] == 0xff;
  return ip.v4_value() >> 28 == 0xe || ip.v4_value() == 0xffffffff;
}

char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool is_letter(char c) { return to_upper(c) >= 'A' && to_upper(c) <= 'Z'; }

constexpr const char* kHostNameExamples =
    "one like \"app.example.com\", \"*.example.com\" or \"*\"";

// What people write where a host name belongs, called by its name; empty: it is none of that.
std::string_view mistaken_for_hostname(std::string_view text) {
  const bool is_bracketed = text.starts_with('[') && text.ends_with(']');
  const auto bare = is_bracketed ? text.substr(1, text.size() - 2) : text;
  if (IpAddress::parse(bare)) return "an IP address, not a host name: clients ask for names (SNI)";
  if (SocketAddress::parse(text)) {
    return "an IP address with a port, not a host name: clients ask for names (SNI)";
  }
  if (text.contains("://")) return "a URL, not a host name";
  if (text.contains('/')) return "a host name with a path";
  return text.contains(':') ? "a host name with a port" : "";
}

// The host of a URL, or of a name with a port or a path; maybe empty.
std::string_view host_in(std::string_view text) {
  const auto scheme = text.find("://");
  if (scheme != text.npos) text.remove_prefix(scheme + 3);
  return text.substr(0, text.find_first_of("/:?#"));
}

// Whether a "*" stands anywhere but in front of ".name".
bool has_stray_star(std::string_view text) {
  const auto last = text.rfind('*');
  return last != text.npos && (last > 0 || !text.substr(1).starts_with('.'));
}

Result<BackendAddress> parse_recorded_backend(std::string_view text) {
  auto address = BackendAddress::parse(text);
  if (!address || !is_any(address->ip())) return address;
  return fail(fmt::format("{}: no address to connect to; write \"127.0.0.1:{}\" for this machine",
                          quote(text), address->port()));
}

}  // namespace

Result<policy::HostPattern> parse_hostname(std::string_view text) {
  auto pattern = policy::HostPattern::parse(text);
  if (pattern.has_value()) return *std::move(pattern);
  if (const auto mistaken = mistaken_for_hostname(text); !mistaken.empty()) {
    const auto meant = policy::HostPattern::parse(host_in(text));
    return fail(fmt::format("{}: {}; write {}", quote(text), mistaken,
                            meant ? quote(meant->text()) : kHostNameExamples));
  }
  if (has_stray_star(text)) {
    return fail(fmt::format(
        "{}: a wildcard stands alone (\"*\") or for all that precedes a name (\"*.example.com\")",
        quote(text)));
  }
  return fail(fmt::format("{}: not a host name: {}; write {}", quote(text),
                          tls::to_string(pattern.error()), kHostNameExamples));
}

Result<BackendAddress> parse_backend(std::string_view text) {
  auto address = parse_recorded_backend(text);
  if (!address) return address;
  if (address->ip().is_link_local() && address->interface().empty()) {
    return fail(fmt::format("{}: a link-local address needs its interface; write \"[{}%eth0]:{}\"",
                            quote(text), address->ip().to_string(), address->port()));
  }
  if (is_multicast(address->ip())) {
    return fail(
        fmt::format("{}: a group or broadcast address takes no connections; write the "
                    "address of one machine",
                    quote(text)));
  }
  return address;
}

Result<policy::Route> read_recorded_route(std::string_view hostname, std::string_view backend) {
  auto pattern = parse_hostname(hostname);
  if (!pattern) return std::unexpected(pattern.error());
  auto address = parse_recorded_backend(backend);
  if (!address) return std::unexpected(address.error());
  return policy::Route{*std::move(pattern), *std::move(address)};
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
  return backend == listener || (is_loopback(backend.ip()) && listener.takes(backend));
}

}  // namespace mc::config
