// SPDX-License-Identifier: Apache-2.0
#pragma once
// The RPCs: each translates its request, calls the control plane, and translates the result.
// proto/mc_proxy/v1/admin.proto specifies them. gRPC's threads, several at once.

#include <grpcpp/server_context.h>
#include <mc_proxy/v1/admin.grpc.pb.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "admin/draining_servers.hpp"
#include "admin/event_stream.hpp"
#include "admin/local_socket.hpp"
#include "admin/overview.hpp"
#include "base/log.hpp"
#include "control/control.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::admin {

class Service final : public mc_proxy::v1::ProxyAdminService::Service {
 public:
  /// All references outlive it. `local` is null where there is no Unix socket, `draining` in a
  /// server that drains itself. `version` is what GetStatus reports: "0.1.0"; the level of `log` is
  /// now as configured.
  Service(control::Control& control, traffic::LiveTraffic& traffic, const LocalSocket* local,
          const DrainingServers* draining, std::string version, Log& log);

  grpc::Status ListRoutes(grpc::ServerContext* context,
                          const mc_proxy::v1::ListRoutesRequest* request,
                          mc_proxy::v1::ListRoutesResponse* response) override;
  grpc::Status AddRoute(grpc::ServerContext* context, const mc_proxy::v1::AddRouteRequest* request,
                        mc_proxy::v1::AddRouteResponse* response) override;
  grpc::Status RemoveRoute(grpc::ServerContext* context,
                           const mc_proxy::v1::RemoveRouteRequest* request,
                           mc_proxy::v1::RemoveRouteResponse* response) override;
  grpc::Status MoveRoutes(grpc::ServerContext* context,
                          const mc_proxy::v1::MoveRoutesRequest* request,
                          mc_proxy::v1::MoveRoutesResponse* response) override;
  grpc::Status ReplaceRoutes(grpc::ServerContext* context,
                             const mc_proxy::v1::ReplaceRoutesRequest* request,
                             mc_proxy::v1::ReplaceRoutesResponse* response) override;
  grpc::Status GetFirewallRules(grpc::ServerContext* context,
                                const mc_proxy::v1::GetFirewallRulesRequest* request,
                                mc_proxy::v1::GetFirewallRulesResponse* response) override;
  grpc::Status AddFirewallRule(grpc::ServerContext* context,
                               const mc_proxy::v1::AddFirewallRuleRequest* request,
                               mc_proxy::v1::AddFirewallRuleResponse* response) override;
  grpc::Status RemoveFirewallRule(grpc::ServerContext* context,
                                  const mc_proxy::v1::RemoveFirewallRuleRequest* request,
                                  mc_proxy::v1::RemoveFirewallRuleResponse* response) override;
  grpc::Status ListPools(grpc::ServerContext* context,
                         const mc_proxy::v1::ListPoolsRequest* request,
                         mc_proxy::v1::ListPoolsResponse* response) override;
  grpc::Status AddPool(grpc::ServerContext* context, const mc_proxy::v1::AddPoolRequest* request,
                       mc_proxy::v1::AddPoolResponse* response) override;
  grpc::Status RemovePool(grpc::ServerContext* context,
                          const mc_proxy::v1::RemovePoolRequest* request,
                          mc_proxy::v1::RemovePoolResponse* response) override;
  grpc::Status SetBackendState(grpc::ServerContext* context,
                               const mc_proxy::v1::SetBackendStateRequest* request,
                               mc_proxy::v1::SetBackendStateResponse* response) override;
  grpc::Status ApplyChanges(grpc::ServerContext* context,
                            const mc_proxy::v1::ApplyChangesRequest* request,
                            mc_proxy::v1::ApplyChangesResponse* response) override;
  grpc::Status GetStatus(grpc::ServerContext* context,
                         const mc_proxy::v1::GetStatusRequest* request,
                         mc_proxy::v1::GetStatusResponse* response) override;
  grpc::Status CreateSnapshot(
      grpc::ServerContext* context, const mc_proxy::v1::CreateSnapshotRequest* request,
      grpc::ServerWriter<mc_proxy::v1::CreateSnapshotResponse>* writer) override;
  grpc::Status ReloadGeoIP(grpc::ServerContext* context,
                           const mc_proxy::v1::ReloadGeoIPRequest* request,
                           mc_proxy::v1::ReloadGeoIPResponse* response) override;
  grpc::Status GetLogLevel(grpc::ServerContext* context,
                           const mc_proxy::v1::GetLogLevelRequest* request,
                           mc_proxy::v1::GetLogLevelResponse* response) override;
  grpc::Status SetLogLevel(grpc::ServerContext* context,
                           const mc_proxy::v1::SetLogLevelRequest* request,
                           mc_proxy::v1::SetLogLevelResponse* response) override;
  grpc::Status ListConnections(
      grpc::ServerContext* context, const mc_proxy::v1::ListConnectionsRequest* request,
      grpc::ServerWriter<mc_proxy::v1::ListConnectionsResponse>* writer) override;
  grpc::Status CloseConnections(grpc::ServerContext* context,
                                const mc_proxy::v1::CloseConnectionsRequest* request,
                                mc_proxy::v1::CloseConnectionsResponse* response) override;
  grpc::Status WatchEvents(grpc::ServerContext* context,
                           const mc_proxy::v1::WatchEventsRequest* request,
                           grpc::ServerWriter<mc_proxy::v1::WatchEventsResponse>* writer) override;

  /// Ends the streams, which have no end of their own, before the server is shut down.
  void end_streams() { streams_end_.notify(); }

 private:
  /// The caller: the subject of the client's certificate, or the user at the Unix socket.
  [[nodiscard]] std::string who(const grpc::ServerContext& context) const;
  /// The options that every request to change something has.
  template <class Request>
  [[nodiscard]] control::ChangeOptions options(const grpc::ServerContext& context,
                                               const Request& request,
                                               std::string_view action) const;
  /// For requests with one change and only the revision in the response.
  template <class Response>
  grpc::Status apply_one(control::Change change, const control::ChangeOptions& options,
                         Response& response);
  /// Closes the open connections that `chosen` selects. Returns how many; logs it with `text`.
  std::uint64_t close_connections(const grpc::ServerContext& context,
                                  const mc_proxy::v1::CloseConnectionsRequest& request,
                                  const Overview::Choice& chosen, const ConnectionFilterText& text);

  control::Control& control_;
  traffic::LiveTraffic& traffic_;
  const LocalSocket* const local_;
  Overview overview_;
  Log& log_;
  const LogLevel configured_level_;
  std::mutex level_change_;                // one at a time, so that each sees the level before
  std::atomic<std::size_t> snapshots_{0};  // under way; at most kSnapshotsMax
  std::atomic<std::uint64_t> snapshots_made_{0};  // so that no two have the same name
  std::atomic<std::size_t> connection_calls_{0};  // under way; at most kConnectionCallsMax
  std::atomic<std::size_t> watches_{0};           // likewise, kWatchesMax
  StreamsEnd streams_end_;
};

/// Removes the snapshots of a server that was killed while it made them. The database belongs to
/// this server alone, and so do they.
void remove_left_snapshots(const std::string& database);

}  // namespace mc::admin
