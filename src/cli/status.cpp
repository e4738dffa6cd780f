// SPDX-License-Identifier: Apache-2.0
// mc-proxy status: the state of a running server.

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/duration.hpp"
#include "base/quote.hpp"
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/enum_words.hpp"
#include "cli/format.hpp"
#include "cli/pool_client.hpp"
#include "cli/print_json.hpp"
#include "policy/route.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// "down for 5m0s: Connection refused", "drain", "maintenance".
std::string why_unavailable(const api::BackendStatus& backend) {
  std::string why;
  if (backend.state() != api::BACKEND_STATE_READY) why = word_of(backend.state());
  if (!is_out_of_reach(backend)) return why;
  why += (why.empty() ? "" : ", ") + word_of(backend.health());
  const std::string since = time_since(backend, std::chrono::system_clock::now());
  if (!since.empty()) why += " for " + since;
  if (!backend.reason().empty()) why += ": " + printable(backend.reason());
  return why;
}

void print_pools(const api::GetStatusResponse& status) {
  if (status.pool_count() == 0) return;
  fmt::print("pools: {} backends={} unavailable={}\n", status.pool_count(), status.backend_count(),
             status.unavailable_backend_count());
  for (const api::BackendStatus& backend : status.unavailable_backends()) {
    fmt::print("unavailable: {} of {}: {}\n", backend.address(), backend.pool(),
               why_unavailable(backend));
  }
  const auto shown = static_cast<std::uint32_t>(status.unavailable_backends_size());
  if (status.unavailable_backend_count() > shown) {
    fmt::print("unavailable: {} more; see them all: mc-proxy backends list\n",
               status.unavailable_backend_count() - shown);
  }
}

// Operators' scripts rely on these lines; others appear only when they have something to report.
void print(const api::GetStatusResponse& status) {
  fmt::print("mc-proxy v{}\n", status.version());
  fmt::print("uptime: {}\n", format_duration(std::chrono::seconds(status.uptime().seconds())));
  fmt::print("connections: {}\n", status.total_connections());
  for (const api::ListenerStatus& listener : status.listeners()) {
    fmt::print("{} routes={} active={}\n", listener.addr(), listener.route_count(),
               listener.active_connections());
    for (const api::RouteStatus& route : listener.routes()) {
      const policy::RouteText text = text_of(route.route());
      fmt::print("  {} -> {} active={} connections={} dial_failures={} bytes_up={} bytes_down={}\n",
                 policy::named(text.hostname, text.match), target_of(text),
                 route.active_connections(), route.total_connections(), route.dial_failures(),
                 format_bytes(route.bytes_up()), format_bytes(route.bytes_down()));
    }
  }
  print_pools(status);
  if (status.state() == api::SERVER_STATE_STOPPING) fmt::print("state: stopping\n");
  if (status.state() == api::SERVER_STATE_PAUSED) {
    fmt::print("state: accepting paused, out of descriptors or memory\n");
  }
  for (const api::DrainingServer& one : status.draining()) {
    const auto since = std::chrono::system_clock::now().time_since_epoch() -
                       std::chrono::seconds(one.since().seconds());
    fmt::print("draining: pid {}{} for {}\n", one.pid(),
               one.replies() ? fmt::format(" v{}, {},", one.version(),
                                           format_items(one.active_connections(), "connection"))
                             : " does not reply, its connections are not counted,",
               format_seconds(since));
  }
  for (const std::string& warning : status.warnings()) fmt::print("warning: {}\n", warning);
}

/// Prints the state of the server; the busiest `routes` of each listener too.
int status(const ClientOptions& options, std::uint32_t routes) {
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::GetStatusRequest request;
  request.set_routes_max(routes);
  api::GetStatusResponse response;
  const grpc::Status asked = client->call(&Client::Stub::GetStatus, request, response);
  if (!asked.ok()) return client->fail(asked);
  if (options.json) {
    print_json(response);
  } else {
    print(response);
  }
  return kDone;
}

}  // namespace

void add_status(CommandLine& line) {
  const auto routes = std::make_shared<std::uint32_t>(0);
  line.with_server(
          line.add("status", "Show the state of the server",
                   [routes](const ClientOptions& options) { return status(options, *routes); }))
      .add_option("--routes", *routes, "Show the busiest N routes of each listener")
      ->check(CLI::Range(0, 10'000));
}

}  // namespace mc::cli
