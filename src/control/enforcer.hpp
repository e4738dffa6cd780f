// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who resets open connections when rules have come to block their clients. Any thread.

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
  /// The policy that keeps such clients out is published before. Returns when that is under way.
  virtual void cut(const std::shared_ptr<const policy::Firewall>& firewall) = 0;
  /// Has the processes that this one has succeeded do so for the clients that these rules cover.
  virtual void cut_draining(const std::vector<Rule>& rules) = 0;

 protected:
  ~Enforcer() = default;
};

}  // namespace mc::control
