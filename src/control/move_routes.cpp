// SPDX-License-Identifier: Apache-2.0
// Moves routes from one listener to another, of which one or both may not be configured: after a
// listener got another address, or before.

#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "base/quote.hpp"
#include "control/control.hpp"
#include "net/socket_address.hpp"

namespace mc::control {
namespace {

using RouteName = std::pair<std::string, policy::RouteMatchText>;  // the host name, and the match

// One end of a move.
struct End {
  std::optional<std::size_t> listener;  // nothing: it is not configured
  std::string record_name;
  std::map<RouteName, policy::RouteText> routes;
};

Result<End> find_end(const std::string& name, const Listeners& listeners,
                     const std::vector<std::string>& record_names) {
  // What only redirects may have routes of an earlier configuration, which are not in force.
  const auto listener = listeners.find(name);
  if (listener.has_value() && !listeners.only_redirects(*listener)) {
    return End{.listener = listener, .record_name = record_names[*listener], .routes = {}};
  }
  const auto address = SocketAddress::parse_listen(name);
  if (!address.has_value()) return fail(fmt::format("listener {}", address.error().message));
  return End{.listener = std::nullopt, .record_name = name, .routes = {}};
}

void take_routes(const std::vector<store::RouteRecord>& records, End& end) {
  for (const store::RouteRecord& record : records) {
    if (record.listener != end.record_name) continue;
    end.routes.emplace(RouteName(record.text.hostname, record.text.match), record.text);
  }
}

// `place`: 0 for the listener `from`, 1 for the listener `to`.
std::unexpected<Refusal> refuse_name(std::size_t place, std::string description) {
  return std::unexpected(Refusal{.kind = RefusalKind::kInvalid,
                                 .message = {},
                                 .violations = {{place, kListenerField, std::move(description)}}});
}

Outcome<void> require_no_conflict(const End& from, const End& to, const std::string& to_name) {
  for (const auto& [name, route] : from.routes) {
    const auto there = to.routes.find(name);
    if (there == to.routes.end() || there->second == route) continue;
    return refuse(
        RefusalKind::kAlreadyExists,
        fmt::format("listener {} has a route for {} already, to {} and not to {}; set replace to "
                    "put the moved route in its place",
                    quote(to_name), policy::quoted(name.first, name.second),
                    policy::target_of(there->second), policy::target_of(route)));
  }
  return {};
}

Outcome<void> put(const End& end, const policy::RouteText& text, Draft& draft) {
  if (!end.listener.has_value()) {
    draft.put_aside({.listener = end.record_name, .text = text});
    return {};
  }
  auto route = policy::parse_recorded_route(text);
  if (!route.has_value()) return refuse(RefusalKind::kInvalid, route.error().message);
  RouteKey key{*end.listener, route->pattern, route->match};
  const auto done =
      draft.apply(ValidChange(ValidRoute{ValidRoute::Op::kPut, std::move(key), *std::move(route)}));
  if (!done.has_value()) return std::unexpected(done.error());
  return {};
}

Outcome<void> remove(const End& end, const policy::RouteText& text, Draft& draft) {
  if (!end.listener.has_value()) {
    draft.remove_aside({end.record_name, text.hostname, text.match});
    return {};
  }
  auto route = policy::parse_recorded_route(text);
  if (!route.has_value()) return refuse(RefusalKind::kInvalid, route.error().message);
  RouteKey key{*end.listener, std::move(route->pattern), std::move(route->match)};
  const auto done =
      draft.apply(ValidChange(ValidRoute{ValidRoute::Op::kRemove, std::move(key), std::nullopt}));
  if (!done.has_value()) return std::unexpected(done.error());
  return {};
}

}  // namespace

Outcome<Moved> Control::move_routes(const Move& move, const ChangeOptions& options) {
  Moved moved;
  const auto edit = [&](Draft& draft) -> Outcome<void> {
    std::vector<End> ends;
    for (const std::string& name : {move.from, move.to}) {
      auto end = find_end(name, listeners_, record_names_);
      if (!end.has_value()) return refuse_name(ends.size(), end.error().message);
      ends.push_back(*std::move(end));
    }
    End& from = ends[0];
    End& to = ends[1];
    if (from.record_name == to.record_name) {
      return refuse_name(
          1, fmt::format("{} and {} are the same listener", quote(move.from), quote(move.to)));
    }
    if (const auto target = listeners_.find(move.to);
        target && listeners_.only_redirects(*target)) {
      return refuse_name(1, listeners_.no_routes(*target));
    }
    const auto contents = database_.load();
    if (!contents.has_value()) return refuse(RefusalKind::kStoreFailed, contents.error().message);
    take_routes(contents->routes, from);
    take_routes(contents->routes, to);
    if (from.routes.empty()) {
      return refuse(RefusalKind::kNotFound,
                    fmt::format("listener {} has no routes", quote(move.from)));
    }
    if (!move.replace) {
      if (auto free = require_no_conflict(from, to, move.to); !free.has_value()) return free;
    }
    moved.routes = static_cast<std::uint32_t>(from.routes.size());
    for (const auto& [name, route] : from.routes) {
      if (auto done = put(to, route, draft); !done.has_value()) return done;
      if (move.keep) continue;
      if (auto done = remove(from, route, draft); !done.has_value()) return done;
    }
    return {};
  };
  auto applied = change(options, edit);
  if (!applied.has_value()) return std::unexpected(std::move(applied.error()));
  moved.revision = applied->revision;
  return moved;
}

}  // namespace mc::control
