// SPDX-License-Identifier: Apache-2.0
#include "admin/overview.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/limits.hpp"
#include "admin/translate.hpp"
#include "admin/translate_pool.hpp"
#include "base/quote.hpp"
#include "base/spelling.hpp"
#include "traffic/reason.hpp"

namespace mc::admin {

namespace api = mc_proxy::v1;

namespace {

// A route with its sort key: the counters change while they are sorted.
struct Busy {
  std::uint64_t active;
  std::uint64_t connections;
  const policy::LiveRoute* route;

  [[nodiscard]] bool before(const Busy& other) const {
    if (active != other.active) return active > other.active;
    if (connections != other.connections) return connections > other.connections;
    return key_of(route->spec) < key_of(other.route->spec);
  }
};

// At most this many, and none beyond `bytes_max` of their messages.
void fill_busiest(const policy::RouteTable& table, std::size_t most, std::size_t bytes_max,
                  api::ListenerStatus& out) {
  if (most == 0) return;
  std::vector<Busy> routes;
  routes.reserve(table.size());
  table.for_each([&routes](const policy::LiveRoute& route) {
    routes.push_back({route.counts->active.load(std::memory_order_relaxed),
                      route.counts->connections.load(std::memory_order_relaxed), &route});
  });
  const auto shown = static_cast<std::ptrdiff_t>(std::min(most, routes.size()));
  std::ranges::partial_sort(routes, routes.begin() + shown,
                            [](const Busy& a, const Busy& b) { return a.before(b); });
  std::size_t bytes = 0;
  for (const Busy& busy : std::span(routes.begin(), routes.begin() + shown)) {
    if (bytes >= bytes_max) break;
    auto& told = *out.add_routes();
    to_api(busy.route->spec, *told.mutable_route());
    told.set_active_connections(busy.active);
    told.set_total_connections(busy.connections);
    const policy::ConnectionCounts& counts = *busy.route->counts;
    told.set_dial_failures(counts.dial_failures.load(std::memory_order_relaxed));
    told.set_bytes_up(counts.bytes_up.load(std::memory_order_relaxed));
    told.set_bytes_down(counts.bytes_down.load(std::memory_order_relaxed));
    bytes += told.ByteSizeLong();
  }
}

// Adds another server's open connections to the listeners of the same names.
void add_active(const api::GetStatusResponse& theirs, api::GetStatusResponse& ours) {
  ours.set_active_connections(ours.active_connections() + theirs.active_connections());
  for (int i = 0; i < ours.listeners_size(); ++i) {
    api::ListenerStatus& listener = *ours.mutable_listeners(i);
    for (const api::ListenerStatus& other : theirs.listeners()) {
      if (other.addr() != listener.addr()) continue;
      listener.set_active_connections(listener.active_connections() + other.active_connections());
    }
  }
}

void add_draining(const std::vector<DrainingServers::Server>& servers,
                  api::GetStatusResponse& status) {
  for (const DrainingServers::Server& server : servers) {
    auto& told = *status.add_draining();
    told.set_pid(static_cast<std::uint32_t>(server.place.pid));
    *told.mutable_since() = to_timestamp(server.place.since);
    told.set_replies(server.status.has_value());
    if (!server.status.has_value()) continue;
    told.set_version(server.status->version());
    told.set_active_connections(server.status->active_connections());
    add_active(*server.status, status);
  }
}

// Whether it gets no new connections now, or is down.
bool is_unavailable(const policy::LiveBackend& backend, Instant now) {
  return backend.spec.state != policy::AdminState::kReady || !backend.state->is_alive(now);
}

void fill_backends(const policy::LivePools& pools, const control::NameFailures& failures,
                   api::GetStatusResponse& out) {
  const Moment at;
  std::size_t backends = 0;
  std::uint32_t unavailable = 0;
  for (const auto& [name, pool] : pools) {
    backends += pool->backends().size() + pool->unresolved().size();
    for (const policy::LiveBackend& backend : pool->backends()) {
      if (!is_unavailable(backend, at.now)) continue;
      if (++unavailable > kUnavailableShownMax) continue;
      to_api(*pool, backend, at, *out.add_unavailable_backends());
    }
    for (const std::size_t place : pool->unresolved()) {
      if (++unavailable > kUnavailableShownMax) continue;
      to_api_unresolved(*pool, place, failures, *out.add_unavailable_backends());
    }
  }
  out.set_pool_count(static_cast<std::uint32_t>(pools.size()));
  out.set_backend_count(static_cast<std::uint32_t>(backends));
  out.set_unavailable_backend_count(unavailable);
}

control::Refusal no_pool(const policy::LivePools& pools, std::string_view name) {
  std::vector<std::string_view> known;
  known.reserve(pools.size());
  for (const auto& [one, pool] : pools) known.push_back(one);
  const std::string_view meant = closest(name, known);
  std::string message = fmt::format("there is no pool {}", quote(name));
  if (!meant.empty()) message += fmt::format("; did you mean {}?", quote(meant));
  return {.kind = control::RefusalKind::kNotFound, .message = std::move(message)};
}

// Connections have addresses as backends.
std::vector<traffic::ConnectionFilter> with_addresses(const traffic::ConnectionFilter& filter,
                                                      const policy::ResolvedNames& resolved) {
  if (!filter.backend.has_value() || filter.backend->kind() != BackendAddress::Kind::kName) {
    return {filter};
  }
  std::vector<traffic::ConnectionFilter> filters;
  const auto answer = resolved.find(filter.backend->host());
  if (answer == resolved.end()) return filters;
  for (const IpAddress& ip : answer->second) {
    filters.push_back(filter);
    filters.back().backend = SocketAddress(ip, filter.backend->port());
  }
  return filters;
}

bool has_listener(const DrainingServers& draining, const std::string& name) {
  const auto servers = draining.look();
  return std::ranges::any_of(servers, [&](const DrainingServers::Server& server) {
    return server.status.has_value() &&
           std::ranges::any_of(server.status->listeners(),
                               [&](const auto& listener) { return listener.addr() == name; });
  });
}

}  // namespace

Overview::Overview(const control::Control& control, traffic::LiveTraffic& traffic,
                   const DrainingServers* draining, std::string version)
    : control_(control), traffic_(traffic), draining_(draining), version_(std::move(version)) {}

void Overview::status(std::size_t routes_max, api::GetStatusResponse& out) const {
  const auto state = control_.state();
  const traffic::Totals totals = traffic_.totals();
  out.set_version(version_);
  *out.mutable_started_at() = to_timestamp(started_at_);
  *out.mutable_uptime() = to_duration(std::chrono::steady_clock::now() - started_);
  out.set_total_connections(totals.accepted);
  out.set_active_connections(totals.active);
  out.set_revision(state->revision);
  out.set_bytes_up(totals.bytes_up);
  out.set_bytes_down(totals.bytes_down);
  out.set_firewall_rule_count(static_cast<std::uint32_t>(state->rules->size()));
  for (std::size_t i = 0; i < traffic::kReasons; ++i) {
    if (totals.ended[i] == 0) continue;
    const std::string reason(to_string(static_cast<traffic::Reason>(i)));
    (*out.mutable_ended())[reason] = totals.ended[i];
  }
  const std::size_t shown =
      std::min<std::size_t>(routes_max, kRoutesPerPageMax / control_.listeners().size());
  for (std::size_t i = 0; i < control_.listeners().size(); ++i) {
    auto& listener = *out.add_listeners();
    listener.set_addr(control_.listeners().name(i));
    listener.set_only_redirects(control_.listeners().only_redirects(i));
    listener.set_route_count(static_cast<std::uint32_t>(state->routes[i].size()));
    listener.set_active_connections(totals.listeners[i].active);
    listener.set_accepted_connections(totals.listeners[i].accepted);
    fill_busiest(state->routes[i], shown, kRoutePageBytes / control_.listeners().size(), listener);
  }
  if (const auto& geoip = state->firewall.geoip()) to_api(*geoip, *out.mutable_geoip());
  out.set_state(state_of(control_, traffic_));
  fill_backends(*state->pools, control_.name_failures(), out);
  const std::vector<std::string> warnings = control_.warnings().texts();
  out.mutable_warnings()->Add(warnings.begin(), warnings.end());
  if (draining_ != nullptr) add_draining(draining_->look(), out);
}

control::Outcome<void> Overview::pools(const api::ListPoolsRequest& request,
                                       api::ListPoolsResponse& out) const {
  const auto state = control_.state();
  const policy::LivePools& pools = *state->pools;
  const Moment at;
  out.set_revision(state->revision);
  if (!request.name().empty()) {
    const auto found = pools.find(request.name());
    if (found == pools.end()) return std::unexpected(no_pool(pools, request.name()));
    to_api(*found->second, at, control_.name_failures(), *out.add_pools());
    return {};
  }
  const std::size_t most = request.page_size() == 0
                               ? kPoolsPerPageMax
                               : std::min<std::size_t>(request.page_size(), kPoolsPerPageMax);
  // A token is the name of the last pool shown, so every text is one.
  auto next = pools.upper_bound(request.page_token());
  std::size_t bytes = 0;
  for (std::size_t shown = 0; next != pools.end() && shown < most; ++next, ++shown) {
    if (bytes >= kPoolPageBytes) break;
    api::PoolStatus& told = *out.add_pools();
    to_api(*next->second, at, control_.name_failures(), told);
    bytes += told.ByteSizeLong();
  }
  if (next != pools.end()) out.set_next_page_token(std::prev(next)->first);
  return {};
}

control::Outcome<Overview::Choice> Overview::choose(const ConnectionFilterText& text) const {
  if (draining_ != nullptr && is_of_draining_server(text.id)) return Choice{};
  auto filter = read_filter(text, control_.listeners());
  if (filter.has_value()) return Choice{with_addresses(*filter, *control_.state()->resolved)};
  const bool is_unknown = filter.error().kind == control::RefusalKind::kNotFound;
  if (is_unknown && draining_ != nullptr && has_listener(*draining_, text.listener)) {
    return Choice{};
  }
  return std::unexpected(std::move(filter.error()));
}

bool Overview::list(const api::ListConnectionsRequest& request, const Choice& chosen,
                    const traffic::LiveTraffic::Wanted& wanted, const Take& take) const {
  bool goes_on = true;
  const auto take_own = [&](std::span<const traffic::Connection> rows) {
    goes_on = goes_on && wanted();
    const auto now = std::chrono::system_clock::now();
    while (goes_on && !rows.empty()) {
      const auto some = rows.first(std::min(rows.size(), kConnectionsPerMessage));
      rows = rows.subspan(some.size());
      api::ListConnectionsResponse message;
      for (const traffic::Connection& row : some) {
        to_api(row, control_.listeners(), now, *message.add_connections());
      }
      goes_on = take(message);
    }
    return goes_on;
  };
  for (const traffic::ConnectionFilter& filter : chosen.own) {
    if (goes_on) traffic_.list(filter, take_own);
  }
  if (goes_on && draining_ != nullptr) {
    draining_->list(request, [&](const api::ListConnectionsResponse& message) {
      goes_on = take(message);
      return goes_on;
    });
  }
  return goes_on;
}

Overview::Closed Overview::close(const api::CloseConnectionsRequest& request, const Choice& chosen,
                                 const traffic::LiveTraffic::Wanted& wanted) const {
  Closed closed;
  for (const traffic::ConnectionFilter& filter : chosen.own) {
    closed.own +=
        request.dry_run() ? traffic_.count(filter, wanted) : traffic_.close(filter, wanted);
  }
  if (draining_ != nullptr) closed.of_draining = draining_->close(request);
  return closed;
}

}  // namespace mc::admin
