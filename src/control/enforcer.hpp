// SPDX-License-Identifier: Apache-2.0
#pragma once
// Resets open connections when new rules block their clients. Any thread.

#include <memory>
#include <vector>

#include "control/rule_set.hpp"
#include "policy/firewall.hpp"

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

 protected:
  ~Enforcer() = default;
};

}  // namespace mc::control
