// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state in force: the routes, pools and rules of one revision, and the firewall made from them.
// Immutable once shared; any thread.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "control/listener_pools.hpp"
#include "control/rule_set.hpp"
#include "net/backend_address.hpp"
#include "net/socket_address.hpp"
#include "policy/live_pool.hpp"
#include "policy/policy.hpp"
#include "policy/pool.hpp"
#include "store/store.hpp"

namespace mc::control {

/// The configured listeners, which do not change while the process lives.
class Listeners {
 public:
  explicit Listeners(const std::vector<config::Listener>& configured);

  [[nodiscard]] std::size_t size() const { return listeners_.size(); }
  [[nodiscard]] const std::string& name(std::size_t index) const { return listeners_[index].name; }
  [[nodiscard]] const SocketAddress& address(std::size_t index) const {
    return listeners_[index].addr;
  }
  /// Whether it has no routes, and can get none.
  [[nodiscard]] bool only_redirects(std::size_t index) const {
    return listeners_[index].only_redirects;
  }
  /// The pools that its settings name.
  [[nodiscard]] const std::vector<PoolUse>& pools(std::size_t index) const {
    return listeners_[index].pools;
  }
  /// The index, in the configuration, of the listener with this name or address.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;
  /// The same, only by the name as configured.
  [[nodiscard]] std::optional<std::size_t> find_name(std::string_view name) const;
  /// The error text for a name that no listener has. It lists the existing ones.
  [[nodiscard]] std::string unknown(std::string_view name) const;
  /// The error text for a route of a listener that only redirects.
  [[nodiscard]] std::string no_routes(std::size_t index) const;
  /// A listener that connections to `backend` would reach (a loop).
  [[nodiscard]] std::optional<std::size_t> reached_by(const BackendAddress& backend) const;

 private:
  struct Listener {
    std::string name;
    SocketAddress addr;
    bool only_redirects;
    std::vector<PoolUse> pools;
  };
  std::vector<Listener> listeners_;
};

/// Identifies a route.
struct RouteKey {
  std::size_t listener;
  policy::HostPattern pattern;
  policy::RouteMatch match = {};

  auto operator<=>(const RouteKey&) const = default;
};

/// The parts of a state.
struct Specification {
  std::vector<std::vector<policy::Route>> routes;  // by listener
  RuleSet rules;
  std::vector<policy::Pool> pools;
  policy::ResolvedNames resolved;
  /// Of listeners that are not configured; see State.
  std::vector<store::RouteRecord> aside;
};

struct State {
  store::Revision revision = 0;
  std::vector<policy::RouteTable> routes;  // by listener
  std::shared_ptr<const RuleSet> rules = std::make_shared<const RuleSet>();
  policy::Firewall firewall;
  std::shared_ptr<const policy::LivePools> pools = std::make_shared<const policy::LivePools>();
  /// What the names of backends stand for in `pools`. Not of a revision.
  std::shared_ptr<const policy::ResolvedNames> resolved =
      std::make_shared<const policy::ResolvedNames>();
  /// The records of listeners that are not configured. They are not in force, but a start may find
  /// their listener again, so the pools that they lead to stay.
  std::shared_ptr<const std::vector<store::RouteRecord>> aside =
      std::make_shared<const std::vector<store::RouteRecord>>();

  [[nodiscard]] std::unique_ptr<const policy::Policy> policy() const;
};

}  // namespace mc::control
