// SPDX-License-Identifier: Apache-2.0
#include "policy/live_pool.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/assert.hpp"
#include "base/mix.hpp"
#include "policy/limits.hpp"

namespace mc::policy {
namespace {

// The step of round robin: coprime to `sum`, so that `sum` steps visit every place once, and near
// the golden ratio of it, so that the visits of one backend lie far apart.
std::uint32_t step_for(std::uint32_t sum) {
  auto step = static_cast<std::uint32_t>(static_cast<double>(sum) * 0.618);
  while (step > 1 && std::gcd(step, sum) != 1) --step;
  return std::max(step, 1U);
}

void finish(Tier& tier, std::span<const LiveBackend> backends) {
  std::int64_t divisor = 0;
  for (const std::uint32_t i : tier.members) divisor = std::gcd(divisor, backends[i].spec.weight);
  std::uint32_t sum = 0;
  for (const std::uint32_t i : tier.members) {
    const std::int64_t weight = divisor == 0 ? 1 : backends[i].spec.weight / divisor;
    sum += static_cast<std::uint32_t>(weight);
    tier.has_equal_weights = tier.has_equal_weights && weight == 1;
    tier.weights_sum.push_back(sum);
  }
  tier.step = tier.has_equal_weights ? 1 : step_for(sum);
}

}  // namespace

// ---- a backend

void BackendState::set_health(Health health, std::string why, Instant now) {
  const std::lock_guard lock(text_);
  health_why_ = std::move(why);
  const Health before = health_.exchange(health, std::memory_order_relaxed);
  if (before == health) return;
  health_since_ = now;
  if (health != Health::kUp || before != Health::kDown) return;
  set_returned(now);
  failures_in_row_.store(0, std::memory_order_relaxed);
  ejections_.store(0, std::memory_order_relaxed);
  ejected_until_.store(0, std::memory_order_relaxed);
}

BackendState::Shown BackendState::shown(Instant now) const {
  const std::lock_guard lock(text_);
  if (is_ejected(now) && health() != Health::kDown) {
    return {.health = health(), .is_ejected = true, .why = ejected_why_, .since = ejected_at_};
  }
  return {.health = health(), .is_ejected = false, .why = health_why_, .since = health_since_};
}

// ---- a pool

LivePool::LivePool(Pool spec, const ResolvedNames& resolved, const LivePool* before, Instant now)
    : spec_(std::move(spec)),
      shared_(before != nullptr ? before->shared_ : std::make_shared<Shared>()) {
  expand(resolved);
  keep_states(before, now);
  make_tiers();
}

void LivePool::expand(const ResolvedNames& resolved) {
  // An address that the operator wrote counts before the same one of a name.
  std::unordered_set<std::string> written, seen;
  for (const Backend& backend : spec_.backends) {
    if (backend.address.kind() != BackendAddress::Kind::kName) {
      written.insert(backend.address.to_string());
    }
  }
  const auto add_once = [&](std::size_t configured, const BackendAddress& address) {
    if (seen.insert(address.to_string()).second) add(configured, address);
  };
  for (std::size_t i = 0; i < spec_.backends.size(); ++i) {
    const BackendAddress& address = spec_.backends[i].address;
    if (address.kind() != BackendAddress::Kind::kName) {
      add_once(i, address);
      continue;
    }
    std::size_t usable = 0;
    const auto answer = resolved.find(address.host());
    if (answer != resolved.end()) {
      for (const IpAddress& ip : answer->second) {
        if (!ip.names_host() || usable == kNameAddressesMax) continue;
        ++usable;
        const BackendAddress found = SocketAddress(ip, address.port());
        if (!written.contains(found.to_string())) add_once(i, found);
      }
    }
    if (usable == 0) unresolved_.push_back(i);
  }
}

void LivePool::add(std::size_t configured, const BackendAddress& address) {
  Backend spec = spec_.backends[configured];
  spec.address = address;
  const std::int64_t weight = std::max<std::int64_t>(spec.weight, 1);
  backends_.push_back({.spec = std::move(spec),
                       .configured = configured,
                       .state = {},
                       .seed = hash64(address.to_string()),
                       .inverse_weight = 1.0 / static_cast<double>(weight)});
}

void LivePool::keep_states(const LivePool* before, Instant now) {
  std::unordered_set<const BackendState*> out;  // those that were not ready
  if (before != nullptr) {
    for (const LiveBackend& backend : before->backends_) {
      if (backend.spec.state != AdminState::kReady) out.insert(backend.state.get());
    }
  }
  auto& states = shared_->states;
  std::erase_if(states, [](const auto& known) { return known.second.expired(); });
  for (LiveBackend& backend : backends_) {
    std::weak_ptr<BackendState>& known = states[backend.spec.address.to_string()];
    backend.state = known.lock();
    if (backend.state == nullptr) {
      backend.state = std::make_shared<BackendState>(spec_.name, backend.spec.address);
      known = backend.state;
    } else if (backend.spec.state == AdminState::kReady && out.contains(backend.state.get())) {
      backend.state->set_returned(now);
    }
  }
}

void LivePool::make_tiers() {
  Tier weighted, backups, without_weight;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const Backend& backend = backends_[i].spec;
    if (backend.state != AdminState::kReady) continue;
    Tier& tier = backend.weight == 0 ? without_weight : backend.backup ? backups : weighted;
    tier.members.push_back(static_cast<std::uint32_t>(i));
  }
  for (Tier* const tier : {&weighted, &backups, &without_weight}) {
    if (tier->members.empty()) continue;
    ready_count_ += tier->members.size();
    finish(*tier, backends_);
    tiers_.push_back(std::move(*tier));
  }
}

std::uint32_t LivePool::weight_of(const LiveBackend& backend, Instant now) const {
  const auto weight = static_cast<std::uint32_t>(backend.spec.weight);
  const auto slow_start = spec_.settings.slow_start;
  const Instant returned_at = backend.state->returned_at();
  if (slow_start.count() == 0 || returned_at == Instant() || now >= returned_at + slow_start) {
    return weight;
  }
  const auto since = std::max(now - returned_at, Clock::duration(0));
  const auto part = static_cast<std::uint64_t>(weight) * static_cast<std::uint64_t>(since.count()) /
                    static_cast<std::uint64_t>(slow_start.count());
  return std::max(static_cast<std::uint32_t>(part), weight == 0 ? 0U : 1U);
}

// ---- all pools

namespace {

bool has_one_of(const Pool& pool, std::span<const std::string> names) {
  return std::ranges::any_of(pool.backends, [&](const Backend& backend) {
    return backend.address.kind() == BackendAddress::Kind::kName &&
           std::ranges::find(names, backend.address.host()) != names.end();
  });
}

}  // namespace

std::vector<std::string> names_of(const LivePools& pools) {
  std::set<std::string> names;
  for (const auto& [name, pool] : pools) {
    for (const Backend& backend : pool->spec().backends) {
      if (backend.address.kind() != BackendAddress::Kind::kName) continue;
      names.insert(backend.address.host());
    }
  }
  return {names.begin(), names.end()};
}

std::shared_ptr<const LivePools> with_resolved(const LivePools& pools,
                                               std::span<const std::string> changed,
                                               const ResolvedNames& resolved, Instant now) {
  std::shared_ptr<LivePools> next;
  for (const auto& [name, pool] : pools) {
    if (!has_one_of(pool->spec(), changed)) continue;
    if (next == nullptr) next = std::make_shared<LivePools>(pools);
    (*next)[name] = std::make_shared<const LivePool>(pool->spec(), resolved, pool.get(), now);
  }
  return next;
}

}  // namespace mc::policy
