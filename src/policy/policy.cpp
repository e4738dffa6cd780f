// SPDX-License-Identifier: Apache-2.0
#include "policy/policy.hpp"

#include <utility>

#include "base/assert.hpp"

namespace mc::policy {

Policy::Policy(std::uint64_t revision, std::shared_ptr<const Firewall> firewall,
               std::vector<RouteTable> routes, std::shared_ptr<const LivePools> pools)
    : revision_(revision),
      firewall_(std::move(firewall)),
      routes_(std::move(routes)),
      pools_(std::move(pools)) {
  MC_ASSERT(firewall_, "a policy without a firewall cannot decide");
}

const LiveRoute* Policy::route(std::size_t listener, const RouteQuery& client) const {
  MC_ASSERT(listener < routes_.size(), "a listener that the policy does not know");
  return routes_[listener].find(client);
}

bool Policy::covers(std::size_t listener, std::string_view name) const {
  MC_ASSERT(listener < routes_.size(), "a listener that the policy does not know");
  return routes_[listener].covers(name);
}

const LivePool* Policy::pool(std::string_view name) const {
  const auto found = pools_->find(name);
  return found != pools_->end() ? found->second.get() : nullptr;
}

}  // namespace mc::policy
