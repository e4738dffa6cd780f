// SPDX-License-Identifier: Apache-2.0
#pragma once
// Translates between the messages of the API (proto/mc_proxy/v1) and the types of the control
// plane. Pure functions; any thread.

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <grpcpp/support/status.h>
#include <mc_proxy/v1/admin.pb.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "admin/connection_filter.hpp"
#include "base/log.hpp"
#include "control/control.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::admin {

policy::RouteText to_control(const mc_proxy::v1::Route& route);
/// The match of a Route, or of a message that names one: a ListenerHostname, a RemoveRouteRequest.
template <class Message>
policy::RouteMatchText match_of(const Message& message) {
  return {.alpn = message.alpn(), .sources = {message.sources().begin(), message.sources().end()}};
}
control::RuleText to_control(const mc_proxy::v1::FirewallRule& rule);
control::Change to_control(const mc_proxy::v1::Change& change);

void to_api(const policy::Route& route, mc_proxy::v1::Route& out);
void to_api(const control::Rule& rule, mc_proxy::v1::FirewallRule& out);
void to_api(const control::Applied& applied, mc_proxy::v1::ChangeSummary& out);
void to_api(const control::Effect& effect, mc_proxy::v1::ChangeEffect& out);
void to_api(const policy::GeoIp& geoip, mc_proxy::v1::GeoIPStatus& out);
mc_proxy::v1::LogLevel to_api(LogLevel level);
/// Nothing if the value is not one of the levels.
std::optional<LogLevel> to_log(mc_proxy::v1::LogLevel level);
/// The connection as it was at `now`.
void to_api(const traffic::Connection& connection, const control::Listeners& listeners,
            std::chrono::system_clock::time_point now, mc_proxy::v1::Connection& out);
ConnectionFilterText to_control(const mc_proxy::v1::ConnectionFilter& filter);
mc_proxy::v1::ServerState state_of(const control::Control& control,
                                   const traffic::LiveTraffic& traffic);
google::protobuf::Timestamp to_timestamp(std::chrono::system_clock::time_point time);
google::protobuf::Duration to_duration(std::chrono::nanoseconds duration);

/// The path, in the request, of the field of a violation: "route.backend".
using FieldPath = std::function<std::string(const control::Violation&)>;

/// Field paths of a request that is one change: AddRoute, for example.
std::string path_in_single(const control::Violation& violation);
/// Field paths of RemoveRoute, which has the host name as its own field.
std::string path_in_remove_route(const control::Violation& violation);
/// Field paths of MoveRoutes: "from_listener_addr", "to_listener_addr".
std::string path_in_move(const control::Violation& violation);
/// Field paths of ReplaceRoutes: "routes[3].backend".
std::string path_in_routes(const control::Violation& violation);
/// Field paths of ApplyChanges: "changes[17].add_route.route.backend". `request` outlives it.
FieldPath path_in(const mc_proxy::v1::ApplyChangesRequest& request);

/// Field paths of the requests with a filter: "filter.source".
std::string path_in_filter(const control::Violation& violation);

/// The refusal as a status of gRPC, with a google.rpc.BadRequest if fields are wrong.
grpc::Status to_status(const control::Refusal& refusal, const FieldPath& path);
/// The same for one wrong field of a request.
grpc::Status invalid_argument(const std::string& field, const std::string& description);

}  // namespace mc::admin
