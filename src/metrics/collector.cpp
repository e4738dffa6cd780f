// SPDX-License-Identifier: Apache-2.0
#include "metrics/collector.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "metrics/backends.hpp"
#include "metrics/family.hpp"
#include "metrics/limits.hpp"
#include "traffic/reason.hpp"

namespace mc::metrics {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kMsPerSecond = 1000;

double seconds_of(std::chrono::sys_seconds time) {
  return static_cast<double>(time.time_since_epoch().count());
}

/// A metric of one series, without labels.
MetricFamily single(MetricType type, std::string name, std::string help, double value) {
  MetricFamily made = family(type, std::move(name), std::move(help));
  add(made, value);
  return made;
}

/// The first `most` routes by what identifies them. The choice depends on nothing else.
std::vector<const policy::LiveRoute*> first_routes(const policy::RouteTable& table,
                                                   std::size_t most) {
  std::vector<const policy::LiveRoute*> routes;
  routes.reserve(table.size());
  table.for_each([&routes](const policy::LiveRoute& route) { routes.push_back(&route); });
  const std::size_t shown = std::min(most, routes.size());
  std::ranges::partial_sort(routes, routes.begin() + static_cast<std::ptrdiff_t>(shown), {},
                            [](const policy::LiveRoute* route) { return key_of(route->spec); });
  routes.resize(shown);
  return routes;
}

/// A label that is empty is the same as none, for Prometheus too.
Labels labels_of(const std::string& listener, const policy::Route& route) {
  Labels labels{{"listener", listener}, {"route", route.pattern.text()}};
  const policy::RouteMatchText match = to_text(route.match);
  if (!match.alpn.empty()) labels.push_back({"alpn", match.alpn});
  if (!match.sources.empty()) {
    labels.push_back({"source", fmt::format("{}", fmt::join(match.sources, ","))});
  }
  return labels;
}

}  // namespace

std::string Collector::text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, Collect());
  return std::move(out).str();
}

std::vector<MetricFamily> Collector::Collect() const {
  Families families;
  const traffic::Totals totals = sources_.traffic.totals();
  const auto state = sources_.control.state();
  collect_server(families);
  collect_draining(families);
  collect_traffic(families, totals);
  collect_histograms(families, totals);
  collect_limits(families, totals);
  collect_policy(families, *state);
  collect_routes(families, *state);
  collect_pools(families, *state);
  process_.collect(families);
  return families;
}

void Collector::collect_server(Families& families) const {
  auto build = family(MetricType::Gauge, "mc_proxy_build_info", "1; the version is a label.");
  add(build, 1, {{"version", sources_.version}});
  families.push_back(std::move(build));
  families.push_back(single(MetricType::Gauge, "mc_proxy_accepting",
                            "1 while every worker accepts; 0 while accepting is paused, or the "
                            "server is stopping.",
                            sources_.traffic.accepting() ? 1 : 0));
  families.push_back(
      single(MetricType::Gauge, "mc_proxy_stopping",
             "1 once the server was ordered to stop: no new connections, no more changes.",
             sources_.control.stopping() ? 1 : 0));
  auto warnings = family(MetricType::Gauge, "mc_proxy_warning",
                         "1 while an operator should act on this; `mc-proxy status` shows why.");
  for (std::size_t i = 0; i < control::kWarningKinds; ++i) {
    const auto kind = static_cast<control::WarningKind>(i);
    add(warnings, sources_.control.warnings().is_raised(kind) ? 1 : 0,
        {{"kind", std::string(to_string(kind))}});
  }
  families.push_back(std::move(warnings));
}

void Collector::collect_draining(Families& families) const {
  const DrainingTotals totals = sources_.draining();
  families.push_back(single(MetricType::Gauge, "mc_proxy_draining_servers",
                            "Servers from before an upgrade or a restart that still have "
                            "connections.",
                            number(totals.servers)));
  families.push_back(single(MetricType::Gauge, "mc_proxy_draining_connections_active",
                            "Their connections; they are in no other metric.",
                            number(totals.connections)));
}

void Collector::collect_traffic(Families& families, const traffic::Totals& totals) const {
  auto accepted = family(MetricType::Counter, "mc_proxy_connections_accepted_total",
                         "Connections taken from the kernel, refused ones included.");
  auto active = family(MetricType::Gauge, "mc_proxy_connections_active",
                       "Connections that are open, those before their backend included.");
  auto ended = family(MetricType::Counter, "mc_proxy_connections_ended_total",
                      "Connections that ended, by the reason in the log.");
  auto bytes = family(MetricType::Counter, "mc_proxy_bytes_total",
                      "Bytes moved so far, by open connections too: up is client to backend.");
  for (std::size_t i = 0; i < totals.listeners.size(); ++i) {
    const std::string& name = sources_.control.listeners().name(i);
    const traffic::ListenerTotals& listener = totals.listeners[i];
    add(accepted, number(listener.accepted), {{"listener", name}});
    add(active, number(listener.active), {{"listener", name}});
    // All reasons from the start on: a series that begins with its first event hides that event
    // from rate().
    for (std::size_t r = 1; r < traffic::kReasons; ++r) {
      const auto reason = static_cast<traffic::Reason>(r);
      add(ended, number(listener.ended[r]),
          {{"listener", name}, {"reason", std::string(to_string(reason))}});
    }
    add(bytes, number(listener.bytes_up), {{"listener", name}, {"direction", "up"}});
    add(bytes, number(listener.bytes_down), {{"listener", name}, {"direction", "down"}});
  }
  for (auto* const made : {&accepted, &active, &ended, &bytes}) {
    families.push_back(std::move(*made));
  }
}

void Collector::collect_histograms(Families& families, const traffic::Totals& totals) const {
  auto hello = family(MetricType::Histogram, "mc_proxy_hello_duration_seconds",
                      "Time from accept to the route, of connections that got one.");
  auto dial = family(MetricType::Histogram, "mc_proxy_dial_duration_seconds",
                     "Time to connect to backends, of successful connects.");
  auto session = family(MetricType::Histogram, "mc_proxy_connection_duration_seconds",
                        "Time from accept to the end, of connections that reached a backend.");
  auto bytes = family(MetricType::Histogram, "mc_proxy_connection_bytes",
                      "Bytes of a connection that reached a backend, counted at its end.");
  for (std::size_t i = 0; i < totals.listeners.size(); ++i) {
    const std::string& name = sources_.control.listeners().name(i);
    const traffic::ListenerTotals& listener = totals.listeners[i];
    add(hello, listener.hello_ms, kMsPerSecond, {{"listener", name}});
    add(dial, listener.dial_ms, kMsPerSecond, {{"listener", name}});
    add(session, listener.session_ms, kMsPerSecond, {{"listener", name}});
    add(bytes, listener.session_bytes_up, 1, {{"listener", name}, {"direction", "up"}});
    add(bytes, listener.session_bytes_down, 1, {{"listener", name}, {"direction", "down"}});
  }
  for (auto* const made : {&hello, &dial, &session, &bytes}) families.push_back(std::move(*made));
}

void Collector::collect_limits(Families& families, const traffic::Totals& totals) const {
  const auto gauge = [&families](const char* name, const char* help, double value) {
    families.push_back(single(MetricType::Gauge, name, help, value));
  };
  const auto counter = [&families](const char* name, const char* help, double value) {
    families.push_back(single(MetricType::Counter, name, help, value));
  };
  gauge("mc_proxy_connections_max", "Connections that may be open, of all listeners together.",
        number(sources_.connections_max));
  gauge("mc_proxy_accept_paused_listeners",
        "Listeners, counted for each worker, that have paused accepting for lack of descriptors or "
        "memory.",
        number(totals.listeners_paused));
  counter("mc_proxy_accept_pauses_total",
          "Times that a listener of a worker paused accepting for lack of descriptors or memory.",
          number(totals.accept_paused));
  counter("mc_proxy_pipes_exhausted_total",
          "Times that bytes were copied because there was no pipe to splice them through.",
          number(totals.pipes_exhausted));
  counter("mc_proxy_log_lines_dropped_total",
          "Log lines that were lost because stderr did not accept them in time.",
          number(sources_.log.dropped()));
  counter("mc_proxy_log_lines_suppressed_total",
          "Log lines that were not written because too many similar ones came in a second.",
          number(totals.lines_suppressed));
}

void Collector::collect_policy(Families& families, const control::State& state) const {
  families.push_back(single(MetricType::Gauge, "mc_proxy_policy_revision",
                            "The revision of routes and rules that is in force.",
                            number(state.revision)));
  const control::ChangeCounts changes = sources_.control.changes();
  families.push_back(single(MetricType::Counter, "mc_proxy_policy_changes_total",
                            "Changes of routes and rules that were made.", number(changes.made)));
  families.push_back(single(MetricType::Counter, "mc_proxy_policy_changes_failed_total",
                            "Changes that the database refused.", number(changes.failed)));
  auto rules = family(MetricType::Gauge, "mc_proxy_firewall_rules", "Rules of the firewall.");
  add(rules, number(state.rules->ips.size()), {{"type", "ip"}});
  add(rules, number(state.rules->cidrs.size()), {{"type", "cidr"}});
  add(rules, number(state.rules->countries.size()), {{"type", "country"}});
  families.push_back(std::move(rules));
  if (const auto& geoip = state.firewall.geoip()) {
    auto built = family(MetricType::Gauge, "mc_proxy_geoip_build_timestamp_seconds",
                        "When the GeoIP database in use was built, in seconds since 1970.");
    add(built, seconds_of(geoip->built_at()), {{"type", geoip->type()}});
    families.push_back(std::move(built));
  }
  if (const auto expiry = sources_.certificate_expiry()) {
    families.push_back(single(
        MetricType::Gauge, "mc_proxy_admin_certificate_expiry_timestamp_seconds",
        "When the admin API's certificate ends, in seconds since 1970.", seconds_of(*expiry)));
  }
}

void Collector::collect_routes(Families& families, const control::State& state) const {
  auto routes = family(MetricType::Gauge, "mc_proxy_routes", "Routes of a listener.");
  auto left_out = family(MetricType::Gauge, "mc_proxy_routes_without_metrics",
                         "Routes beyond metrics.routes_max, which have no metrics of their own.");
  auto connections = family(MetricType::Counter, "mc_proxy_route_connections_total",
                            "Connections that the route was chosen for.");
  auto active = family(MetricType::Gauge, "mc_proxy_route_connections_active",
                       "Those of them that are open.");
  auto failures = family(MetricType::Counter, "mc_proxy_route_dial_failures_total",
                         "Those of them that could not connect to the backend.");
  auto bytes = family(MetricType::Counter, "mc_proxy_route_bytes_total",
                      "Bytes of the route's connections that ended: up is client to backend.");
  for (std::size_t i = 0; i < state.routes.size(); ++i) {
    const std::string& name = sources_.control.listeners().name(i);
    const auto shown = first_routes(state.routes[i], sources_.routes_max);
    add(routes, number(state.routes[i].size()), {{"listener", name}});
    add(left_out, number(state.routes[i].size() - shown.size()), {{"listener", name}});
    for (const policy::LiveRoute* const route : shown) {
      const policy::ConnectionCounts& counts = *route->counts;
      const Labels labels = labels_of(name, route->spec);
      add(connections, number(counts.connections), labels);
      add(active, number(counts.active), labels);
      add(failures, number(counts.dial_failures), labels);
      add(bytes, number(counts.bytes_up), with(labels, "direction", "up"));
      add(bytes, number(counts.bytes_down), with(labels, "direction", "down"));
    }
  }
  for (auto* const made : {&routes, &left_out, &connections, &active, &failures, &bytes}) {
    families.push_back(std::move(*made));
  }
}

void Collector::collect_pools(Families& families, const control::State& state) const {
  for (MetricFamily& made : collect_backends(*state.pools, Clock::now(), kBackendsMax)) {
    families.push_back(std::move(made));
  }
  for (MetricFamily& made : collect_checks(sources_.checks())) families.push_back(std::move(made));
  for (MetricFamily& made : collect_names(sources_.names(), kNamesMax)) {
    families.push_back(std::move(made));
  }
}

}  // namespace mc::metrics
