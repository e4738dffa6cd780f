// SPDX-License-Identifier: Apache-2.0
#pragma once
// What must happen outside of the control plane after a change: open connections whose clients new
// rules block are reset, and the checker learns of the pools. Any thread.

#include <memory>
#include <vector>

#include "control/rule_set.hpp"
#include "policy/firewall.hpp"
#include "policy/live_pool.hpp"

namespace mc::control {

class Enforcer {
 public:
  Enforcer() = default;
  Enforcer(const Enforcer&) = delete;
  Enforcer& operator=(const Enforcer&) = delete;

  /// Resets the open connections of this process whose client `firewall` (not null) does not admit.
  /// Publish the policy with that firewall first. Returns when that has begun.
  virtual void cut(const std::shared_ptr<const policy::Firewall>& firewall) = 0;
  /// Makes the servers that this one has succeeded reset the clients that these rules cover.
  virtual void cut_draining(const std::vector<Rule>& rules) = 0;
  /// These pools (not null) are in force since a moment ago. Called for every change, with the
  /// writer's lock held: must not wait.
  virtual void published(const std::shared_ptr<const policy::LivePools>& /*pools*/) {}

 protected:
  ~Enforcer() = default;
};

}  // namespace mc::control
