// SPDX-License-Identifier: Apache-2.0
#pragma once
// Everything that a worker decides by, as one immutable value: the firewall, the routes of every
// listener and the pools. The control plane builds the next one, sharing the unchanged parts, and
// publishes it. Workers read it without a reference count, and never across a suspension.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "net/ip.hpp"
#include "policy/firewall.hpp"
#include "policy/live_pool.hpp"
#include "policy/published.hpp"
#include "policy/route_table.hpp"

namespace mc::policy {

/// Immutable; any thread.
class Policy {
 public:
  /// `routes` has one table for each listener, in the order of the configuration. `revision` says
  /// which state of the control plane this is; it never falls: a reloaded GeoIP database makes a
  /// new policy of the same revision.
  Policy(std::uint64_t revision, std::shared_ptr<const Firewall> firewall,
         std::vector<RouteTable> routes,
         std::shared_ptr<const LivePools> pools = std::make_shared<const LivePools>());

  /// Whether a client with this address is served.
  [[nodiscard]] Verdict admit(const IpAddress& address) const { return firewall_->check(address); }

  /// Where this client of the listener goes (see RouteTable::find). `listener` is its index in the
  /// configuration. nullptr: nowhere. The route lives as long as this policy.
  [[nodiscard]] const LiveRoute* route(std::size_t listener, const RouteQuery& client) const;
  /// Whether the listener has a route for the name, for any client.
  [[nodiscard]] bool covers(std::size_t listener, std::string_view name) const;

  /// The pool with this name, or nullptr. Lives as long as this policy.
  [[nodiscard]] const LivePool* pool(std::string_view name) const;

  [[nodiscard]] std::uint64_t revision() const { return revision_; }

  /// The parts, for the next policy to share and for listings. Neither the firewall nor the pools
  /// are null.
  [[nodiscard]] const std::shared_ptr<const Firewall>& firewall() const { return firewall_; }
  [[nodiscard]] const std::vector<RouteTable>& routes() const { return routes_; }
  [[nodiscard]] const std::shared_ptr<const LivePools>& pools() const { return pools_; }

 private:
  std::uint64_t revision_;
  std::shared_ptr<const Firewall> firewall_;
  std::vector<RouteTable> routes_;
  std::shared_ptr<const LivePools> pools_;
};

/// The policy in force: the control plane publishes, each worker has a reader.
using PublishedPolicy = Published<Policy>;

}  // namespace mc::policy
