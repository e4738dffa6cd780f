// SPDX-License-Identifier: Apache-2.0
#include "policy/route.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/quote.hpp"
#include "net/socket_address.hpp"
#include "policy/pool.hpp"
#include "tls/host_name.hpp"

namespace mc::policy {
namespace {

constexpr const char* kHostNameExamples =
    "one like \"app.example.com\", \"*.example.com\" or \"*\"";

// Names what people write by mistake instead of a host name; empty if the text is none of these.
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
  if (!address || address->kind() == BackendAddress::Kind::kUnix) return address;
  if (address->kind() == BackendAddress::Kind::kName) {
    return fail(
        fmt::format("{}: a name may have several addresses, and a route leads to one; make "
                    "a pool with this backend, and write the pool's name in the route",
                    quote(text)));
  }
  if (!address->ip().is_unspecified()) return address;
  return fail(fmt::format("{}: no address to connect to; write \"127.0.0.1:{}\" for this machine",
                          quote(text), address->port()));
}

}  // namespace

Result<HostPattern> parse_hostname(std::string_view text) {
  auto pattern = HostPattern::parse(text);
  if (pattern.has_value()) return *std::move(pattern);
  if (const auto mistaken = mistaken_for_hostname(text); !mistaken.empty()) {
    const auto meant = HostPattern::parse(host_in(text));
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
  if (!address || address->kind() == BackendAddress::Kind::kUnix) return address;
  if (address->ip().is_link_local() && address->interface().empty()) {
    return fail(fmt::format("{}: a link-local address needs its interface; write \"[{}%eth0]:{}\"",
                            quote(text), address->ip().to_string(), address->port()));
  }
  if (address->ip().is_multicast()) {
    return fail(
        fmt::format("{}: a group or broadcast address takes no connections; write the "
                    "address of one machine",
                    quote(text)));
  }
  return address;
}

namespace {

using Target = std::variant<BackendAddress, PoolName>;

constexpr std::string_view kPoolPrefix = "pool=";

// What target_of() writes is a word for people, and no backend.
Result<void> require_no_pool(std::string_view backend) {
  if (!backend.starts_with(kPoolPrefix)) return {};
  const auto name = backend.substr(kPoolPrefix.size());
  if (name.empty()) {
    return fail(fmt::format("{}: the pool's name is missing; write one like \"{}app\"",
                            quote(backend), kPoolPrefix));
  }
  return fail(fmt::format("{}: a pool is no backend; write {} as the pool of the route",
                          quote(backend), quote(name)));
}

Result<Target> parse_target(const RouteText& text,
                            Result<BackendAddress> (*parse)(std::string_view)) {
  if (text.pool.empty()) {
    if (auto misplaced = require_no_pool(text.backend); !misplaced) {
      return std::unexpected(std::move(misplaced.error()));
    }
    auto backend = parse(text.backend);
    if (!backend) return std::unexpected(std::move(backend.error()));
    return *std::move(backend);
  }
  auto name = parse_pool_name(text.pool);
  if (!name) return std::unexpected(std::move(name.error()));
  return PoolName{*std::move(name)};
}

}  // namespace

std::expected<Route, std::vector<RouteError>> parse_route(const RouteText& text) {
  auto pattern = parse_hostname(text.hostname);
  auto target = parse_target(text, parse_backend);
  if (target && !text.pool.empty() && !text.backend.empty()) {
    target = fail(fmt::format("{}: the route has the backend {}, too; leave one of both out",
                              quote(text.pool), quote(text.backend)));
  }
  auto match = parse_match(text.match);
  if (pattern && match && target) {
    return Route{
        .pattern = *std::move(pattern), .match = *std::move(match), .target = *std::move(target)};
  }
  std::vector<RouteError> errors;
  if (!pattern)
    errors.push_back({.field = "hostname", .message = std::move(pattern.error().message)});
  if (!match) std::ranges::move(match.error(), std::back_inserter(errors));
  if (!target) {
    errors.push_back({.field = text.pool.empty() ? "backend" : "pool",
                      .message = std::move(target.error().message)});
  }
  return std::unexpected(std::move(errors));
}

Result<Route> parse_recorded_route(const RouteText& text) {
  auto pattern = parse_hostname(text.hostname);
  if (!pattern) return std::unexpected(std::move(pattern.error()));
  auto target = parse_target(text, parse_recorded_backend);
  if (!target) return std::unexpected(std::move(target.error()));
  auto match = parse_match(text.match);
  if (!match) return fail(std::move(match.error().front().message));
  return Route{
      .pattern = *std::move(pattern), .match = *std::move(match), .target = *std::move(target)};
}

RouteText to_text(const Route& route) {
  RouteText text{
      .hostname = route.pattern.text(), .backend = {}, .pool = {}, .match = to_text(route.match)};
  if (const auto* const backend = route.backend()) text.backend = backend->to_string();
  if (const auto* const pool = route.pool()) text.pool = *pool;
  return text;
}

std::string target_of(const RouteText& route) {
  return route.pool.empty() ? route.backend : std::string(kPoolPrefix) + route.pool;
}

std::string target_of(const Route& route) { return target_of(to_text(route)); }

void read_target(std::string_view text, RouteText& route) {
  route.backend.clear();
  route.pool.clear();
  if (text.starts_with(kPoolPrefix) && text != kPoolPrefix) {
    route.pool = text.substr(kPoolPrefix.size());
  } else {
    route.backend = text;
  }
}

}  // namespace mc::policy
