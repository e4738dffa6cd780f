// SPDX-License-Identifier: Apache-2.0
#pragma once
// One route: which clients go to which backend or pool, as a value and as text. The configuration,
// the admin API, the database and the command line have the same fields with the same names; only
// this file and route_match.hpp read and write them. Pure; any thread.

#include <expected>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "net/backend_address.hpp"
#include "policy/host_pattern.hpp"
#include "policy/route_match.hpp"

namespace mc::policy {

/// The name of a pool; see pool.hpp.
struct PoolName {
  std::string text;

  bool operator==(const PoolName&) const = default;
};

/// A route as an operator specifies it. Immutable once it is in a table.
struct Route {
  HostPattern pattern;
  RouteMatch match = {};
  /// One backend, which is tried once; or a pool of them.
  std::variant<BackendAddress, PoolName> target;

  /// Null: the route leads to a pool.
  [[nodiscard]] const BackendAddress* backend() const {
    return std::get_if<BackendAddress>(&target);
  }
  /// Null: the route leads to a backend.
  [[nodiscard]] const std::string* pool() const {
    const auto* const name = std::get_if<PoolName>(&target);
    return name != nullptr ? &name->text : nullptr;
  }

  bool operator==(const Route&) const = default;
};

/// What identifies a route among those of a listener; views, ordered as listings are.
inline std::tuple<const HostPattern&, const RouteMatch&> key_of(const Route& route) {
  return {route.pattern, route.match};
}

/// A route as text: not validated yet, or written by to_text(). One of `backend` and `pool` is
/// empty.
struct RouteText {
  std::string hostname;
  std::string backend;
  std::string pool;
  RouteMatchText match = {};

  bool operator==(const RouteText&) const = default;
};

/// A field of a RouteText that is one text, and its name, which is the same everywhere.
struct RouteField {
  std::string_view name;
  std::string& (*text)(RouteText& route);
  std::string_view example;
  bool is_required = false;
};
inline constexpr RouteField kRouteFields[] = {
    {.name = "hostname",
     .text = [](RouteText& route) -> std::string& { return route.hostname; },
     .example = "app.example.com",
     .is_required = true},
    {.name = "backend",
     .text = [](RouteText& route) -> std::string& { return route.backend; },
     .example = "127.0.0.1:18443"},
    {.name = "pool",
     .text = [](RouteText& route) -> std::string& { return route.pool; },
     .example = "app"},
    {.name = "alpn",
     .text = [](RouteText& route) -> std::string& { return route.match.alpn; },
     .example = "acme-tls/1"},
};

/// Reads and normalises all fields, or returns the errors of all fields. Makes no system call:
/// whether an interface exists is decided at each connect.
std::expected<Route, std::vector<RouteError>> parse_route(const RouteText& text);

/// Reads a record that was validated when it was written, perhaps by a version that accepted more.
Result<Route> parse_recorded_route(const RouteText& text);

/// Writes the form that parse_route() reads.
RouteText to_text(const Route& route);

/// The route's target, as shown to operators: "10.0.0.1:443", or "pool=app".
std::string target_of(const Route& route);
std::string target_of(const RouteText& route);
/// Reads what target_of() writes into the fields of `route`.
void read_target(std::string_view text, RouteText& route);

/// The host name of a route in normal form (lower case, no trailing dot): a name, "*." and a name,
/// or "*". Errors name the text and the correct form.
Result<HostPattern> parse_hostname(std::string_view text);

/// An ip:port that can be connected to, or a Unix socket. Errors likewise.
Result<BackendAddress> parse_backend(std::string_view text);

}  // namespace mc::policy
