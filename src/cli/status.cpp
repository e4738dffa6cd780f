// SPDX-License-Identifier: Apache-2.0
// mc-proxy status: the state of a running server.

#include <fmt/format.h>

#include <chrono>

#include <memory>
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/format.hpp"

#include "base/duration.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// Operators' scripts rely on these lines; others appear only when they have something to report.
void print(const api::GetStatusResponse& status) {
  fmt::print("mc-proxy v{}\n", status.version());
  fmt::print("uptime: {}\n", format_duration(std::chrono::seconds(status.uptime().seconds())));
  fmt::print("connections: {}\n", status.total_connections());
  for (const api::ListenerStatus& listener : status.listeners()) {
    fmt::print("{} routes={} active={}\n", listener.addr(), listener.route_count(),
               listener.active_connections());
    for (const api::RouteStatus& route : listener.routes()) {
      fmt::print("  {} -> {} active={} connections={} dial_failures={} bytes_up={} bytes_down={}\n",
                 route.route().hostname(), route.route().backend(), route.active_connections(),
                 route.total_connections(), route.dial_failures(), format_bytes(route.bytes_up()),
                 format_bytes(route.bytes_down()));
    }
  }
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
