// SPDX-License-Identifier: Apache-2.0
#include "http/redirect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <expected>
#include <optional>

#include "base/ascii.hpp"
#include "http/characters.hpp"

namespace mc::http {
namespace {

constexpr std::string_view kChallenges = "/.well-known/acme-challenge/";
constexpr std::string_view kScheme = "http://";
constexpr std::uint16_t kHttpsPort = 443;

// A valid authority's host, if it is a name: not if it is empty or an IP address.
using MaybeName = std::optional<tls::HostName>;

// "[2001:db8::1]" or a later form of address (RFC 3986 section 3.2.2).
std::expected<MaybeName, Malformed> read_bracketed(std::string_view host) {
  constexpr auto kAllowed = [](char c) { return is_plain_uri_character(c) || c == ':'; };
  const bool is_valid = host.size() > 2 && host.ends_with(']') &&
                        std::ranges::all_of(host.substr(1, host.size() - 2), kAllowed);
  if (!is_valid) return std::unexpected(Malformed{});
  return std::nullopt;
}

// uri-host [ ":" port ] (RFC 9110 section 7.2). User information is refused with it, as section
// 4.2.4 demands.
std::expected<MaybeName, Malformed> read_authority(std::string_view authority) {
  const bool bracketed = authority.starts_with('[');
  const auto colon = authority.find(':', bracketed ? authority.find(']') : 0);
  const std::string_view host = authority.substr(0, colon);
  const std::string_view port = colon == authority.npos ? "" : authority.substr(colon + 1);
  if (!std::ranges::all_of(port, is_digit)) return std::unexpected(Malformed{});
  if (bracketed) return read_bracketed(host);
  const auto name = tls::HostName::from(host);
  if (name.has_value()) return *name;
  if (host.empty() || name.error() == tls::HostNameError::kIpAddress) return std::nullopt;
  return std::unexpected(Malformed{});
}

// The path and query in characters of RFC 3986: browsers send others, too, such as "[" and "|". A
// '%' stays where it begins an escape.
std::string escaped(std::string_view path_and_query) {
  std::string text;
  for (std::size_t i = 0; i < path_and_query.size(); ++i) {
    const char c = path_and_query[i];
    const std::string_view escape = path_and_query.substr(i + 1, 2);
    const bool is_escape = escape.size() == 2 && std::ranges::all_of(escape, is_hex_digit);
    if (is_path_or_query_character(c) && (c != '%' || is_escape)) {
      text += c;
    } else {
      text += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

bool is_absolute(std::string_view target) {
  return std::ranges::equal(target.substr(0, kScheme.size()), kScheme, {}, to_lower);
}

struct Destination {
  MaybeName name;
  std::string_view path_and_query;  // the path may be empty: that of the root
};

// RFC 9112 section 3.2.2: the authority in the target counts, not the Host.
std::expected<Destination, Malformed> read_absolute(std::string_view target) {
  target.remove_prefix(kScheme.size());
  const auto end = std::min(target.find_first_of("/?"), target.size());
  if (end == 0) return std::unexpected(Malformed{});
  const auto name = read_authority(target.substr(0, end));
  if (!name.has_value()) return std::unexpected(name.error());
  return Destination{.name = *name, .path_and_query = target.substr(end)};
}

// RFC 9112 section 3.3. The Host must be there and valid even where it does not count (section
// 3.2).
std::expected<Destination, Malformed> read_destination(const RequestHead& head) {
  if (!head.host.has_value() && head.minor_version > 0) return std::unexpected(Malformed{});
  const auto host = read_authority(head.host.value_or(""));
  if (!host.has_value()) return std::unexpected(host.error());
  if (is_absolute(head.target)) return read_absolute(head.target);
  if (!head.target.starts_with('/')) return std::unexpected(Malformed{});
  return Destination{.name = *host, .path_and_query = head.target};
}

std::string location(const Destination& to, std::uint16_t tls_port) {
  const std::string port = tls_port == kHttpsPort ? "" : fmt::format(":{}", tls_port);
  const std::string_view root = to.path_and_query.starts_with('/') ? "" : "/";
  return fmt::format("https://{}{}{}{}", to.name->view(), port, root, escaped(to.path_and_query));
}

}  // namespace

RedirectDecision decide_redirect(const RequestHead& head, const RedirectRules& rules) {
  const auto to = read_destination(head);
  if (!to.has_value()) return to.error();
  if (!to->name.has_value()) return NotFound{};
  const std::string_view path = to->path_and_query.substr(0, to->path_and_query.find('?'));
  if (rules.takes_challenges && path.starts_with(kChallenges)) {
    return Challenge{.host = *to->name};
  }
  if (!rules.has_route(*to->name)) return NotFound{};
  return Redirect{.location = location(*to, rules.tls_port)};
}

}  // namespace mc::http
