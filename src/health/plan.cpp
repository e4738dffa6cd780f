// SPDX-License-Identifier: Apache-2.0
#include "health/plan.hpp"

#include <fmt/format.h>

#include <unordered_map>
#include <utility>

namespace mc::health {
namespace {

Target target_of(const policy::PoolSettings& settings, const BackendAddress& address) {
  const policy::Check& check = settings.check;
  const bool has_name = check.kind == policy::CheckKind::kTls;
  return {.address = address,
          .kind = check.kind,
          .name = has_name ? check.name : std::string(),
          .send_proxy = settings.send_proxy};
}

}  // namespace

std::string key_of(const Target& target) {
  return fmt::format("{} {} {} {}", policy::word_of(target.kind, policy::kCheckKindWords),
                     policy::word_of(target.send_proxy, policy::kSendProxyWords), target.name,
                     target.address.to_string());
}

Plan plan_checks(const policy::LivePools& pools, std::size_t targets_max) {
  Plan plan;
  std::unordered_map<std::string, std::size_t> places;
  for (const auto& [name, pool] : pools) {
    const policy::PoolSettings& settings = pool->spec().settings;
    if (settings.check.kind == policy::CheckKind::kNone) continue;
    for (const policy::LiveBackend& backend : pool->backends()) {
      if (backend.spec.state == policy::AdminState::kMaintenance) continue;
      Target target = target_of(settings, backend.spec.address);
      const std::string key = key_of(target);
      auto place = places.find(key);
      if (place == places.end()) {
        if (plan.targets.size() == targets_max) {
          ++plan.left_out;
          continue;
        }
        place = places.emplace(key, plan.targets.size()).first;
        plan.targets.push_back({.key = key, .target = std::move(target), .members = {}});
      }
      plan.targets[place->second].members.push_back({.pool = pool, .state = backend.state});
    }
  }
  return plan;
}

}  // namespace mc::health
