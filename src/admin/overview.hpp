// SPDX-License-Identifier: Apache-2.0
#pragma once
// The status, the pools, listings and closing of connections, for the server and those that drain
// beside it. In the messages of the API, so that all views agree. Any thread, several at once.

#include <mc_proxy/v1/admin.pb.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "admin/connection_filter.hpp"
#include "admin/draining_servers.hpp"
#include "control/control.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::admin {

class Overview {
 public:
  /// All references outlive it; `draining` is null for a server that drains itself.
  Overview(const control::Control& control, traffic::LiveTraffic& traffic,
           const DrainingServers* draining, std::string version);

  /// With the busiest routes of each listener, at most `routes_max`.
  void status(std::size_t routes_max, mc_proxy::v1::GetStatusResponse& out) const;

  /// Pools with the state of their backends, by name: one page, or one pool.
  [[nodiscard]] control::Outcome<void> pools(const mc_proxy::v1::ListPoolsRequest& request,
                                             mc_proxy::v1::ListPoolsResponse& out) const;

  /// The connections that a filter selects.
  struct Choice {
    /// Of this server: those that one of these selects; for a backend that is a name, one for each
    /// of its addresses. Empty: none, because the filter has an id of a draining server's
    /// connection, a listener that only a draining server has, or a name without addresses.
    std::vector<traffic::ConnectionFilter> own;
  };
  [[nodiscard]] control::Outcome<Choice> choose(const ConnectionFilterText& text) const;

  /// Lists these connections, and those of draining servers that the request selects. `take` gets
  /// some at a time, on the calling thread. The first time that it or `wanted` returns false the
  /// listing ends, and returns false.
  using Take = std::function<bool(const mc_proxy::v1::ListConnectionsResponse&)>;
  bool list(const mc_proxy::v1::ListConnectionsRequest& request, const Choice& chosen,
            const traffic::LiveTraffic::Wanted& wanted, const Take& take) const;

  /// How many connections were closed, or would be with `dry_run`.
  struct Closed {
    std::uint64_t own = 0;
    std::uint64_t of_draining = 0;
  };
  /// Closes these connections, and those of draining servers that the request selects. The first
  /// time that `wanted` returns false, the rest of its own stays open.
  Closed close(const mc_proxy::v1::CloseConnectionsRequest& request, const Choice& chosen,
               const traffic::LiveTraffic::Wanted& wanted) const;

 private:
  const control::Control& control_;
  traffic::LiveTraffic& traffic_;
  const DrainingServers* const draining_;
  const std::string version_;
  const std::chrono::system_clock::time_point started_at_ = std::chrono::system_clock::now();
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace mc::admin
