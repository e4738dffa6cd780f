// SPDX-License-Identifier: Apache-2.0
#include "control/pool_draft.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/quote.hpp"
#include "control/limits.hpp"
#include "policy/limits.hpp"

namespace mc::control {
namespace {

Outcome<Effect> add(const policy::Backend& backend, policy::Pool& pool) {
  if (pool.backends.size() >= policy::kPoolBackendsMax) {
    return refuse(RefusalKind::kTooMany,
                  fmt::format("pool {} has {} backends, the most that a pool may have; make "
                              "another pool",
                              quote(pool.name), pool.backends.size()));
  }
  pool.backends.push_back(backend);
  return Effect{Effect::Result::kAdded, std::nullopt};
}

Outcome<Effect> remove(std::size_t place, policy::Pool& pool) {
  if (pool.backends.size() == 1) {
    return refuse(RefusalKind::kFailedPrecondition,
                  fmt::format("{} is the last backend of pool {}; remove the pool, or add another "
                              "backend first",
                              pool.backends[place].address.to_string(), quote(pool.name)));
  }
  pool.backends.erase(pool.backends.begin() + static_cast<std::ptrdiff_t>(place));
  return Effect{Effect::Result::kRemoved, std::nullopt};
}

Effect replace(const policy::Backend& backend, policy::Backend& now) {
  if (now == backend) return {Effect::Result::kUnchanged, std::nullopt};
  now = backend;
  return {Effect::Result::kChanged, std::nullopt};
}

}  // namespace

Outcome<Effect> PoolDraft::apply(const ValidPool& change) {
  const bool is_removal = change.op == ValidPool::Op::kRemove;
  if (is_removal && !has(change.name)) {
    return refuse(RefusalKind::kNotFound, unknown(change.name));
  }
  std::optional<policy::Pool>& now = touch(change.name);
  if (is_removal) {
    now.reset();
    --count_;
    return Effect{Effect::Result::kRemoved, std::nullopt};
  }
  if (change.op == ValidPool::Op::kAdd && now.has_value()) {
    return refuse(RefusalKind::kAlreadyExists,
                  fmt::format("there is a pool {} already; remove it first, or replace it",
                              quote(change.name)));
  }
  if (!now.has_value() && count_ >= policy::kPoolsMax) {
    return refuse(
        RefusalKind::kTooMany,
        fmt::format("there are {} pools, the most that there may be; remove one first", count_));
  }
  const bool is_new = !now.has_value();
  const bool is_same = now == change.pool;
  now = change.pool;
  count_ += is_new ? 1 : 0;
  if (is_new) return Effect{Effect::Result::kAdded, std::nullopt};
  return Effect{is_same ? Effect::Result::kUnchanged : Effect::Result::kChanged, std::nullopt};
}

Outcome<Effect> PoolDraft::apply(const ValidBackend& change) {
  if (!has(change.pool)) return refuse(RefusalKind::kNotFound, unknown(change.pool));
  policy::Pool& pool = *touch(change.pool);
  const auto place = policy::find_backend(pool, change.backend.address);
  switch (change.op) {
    case ValidBackend::Op::kAdd:
      if (!place.has_value()) return add(change.backend, pool);
      return refuse(RefusalKind::kAlreadyExists,
                    fmt::format("pool {} has the backend {} already; remove it first, or replace "
                                "it",
                                quote(pool.name), change.backend.address.to_string()));
    case ValidBackend::Op::kPut:
      if (!place.has_value()) return add(change.backend, pool);
      return replace(change.backend, pool.backends[*place]);
    case ValidBackend::Op::kRemove:
      if (place.has_value()) return remove(*place, pool);
      break;
    case ValidBackend::Op::kSetState:
      if (!place.has_value()) break;
      policy::Backend backend = pool.backends[*place];
      backend.state = change.backend.state;
      return replace(backend, pool.backends[*place]);
  }
  return refuse(RefusalKind::kNotFound, no_backend(pool.name, change.backend.address));
}

std::string PoolDraft::no_backend(std::string_view pool, const BackendAddress& address) const {
  const std::string text = address.to_string();
  const auto found = base_.find(pool);
  if (found != base_.end()) {
    for (const policy::LiveBackend& live : found->second->backends()) {
      const policy::Backend& configured = found->second->spec().backends[live.configured];
      if (live.spec.address != address || configured.address == address) continue;
      return fmt::format("{} of pool {} is an address of the backend {}; write that name", text,
                         quote(pool), configured.address.to_string());
    }
  }
  return fmt::format("pool {} has no backend {}", quote(pool), text);
}

bool PoolDraft::has(std::string_view name) const {
  const auto touched = touched_.find(name);
  return touched != touched_.end() ? touched->second.has_value() : had(name);
}

std::optional<policy::Pool>& PoolDraft::touch(const std::string& name) {
  const auto touched = touched_.find(name);
  if (touched != touched_.end()) return touched->second;
  return touched_.emplace(name, before(name)).first->second;
}

std::optional<policy::Pool> PoolDraft::before(std::string_view name) const {
  const auto found = base_.find(name);
  if (found == base_.end()) return std::nullopt;
  return found->second->spec();
}

std::string PoolDraft::unknown(std::string_view name) const {
  std::string names;
  const auto list = [&](std::string_view one) {
    names += (names.empty() ? "" : ", ") + quote(one);
  };
  if (count_ <= kPoolsNamed) {
    for (const auto& entry : base_) {
      if (has(entry.first)) list(entry.first);
    }
    for (const auto& [one, pool] : touched_) {
      if (pool.has_value() && !had(one)) list(one);
    }
  }
  return fmt::format("there is no pool {}{}{}", quote(name), names.empty() ? "" : "; there are ",
                     names);
}

std::vector<PoolChange> PoolDraft::difference() const {
  std::vector<PoolChange> changes;
  for (const auto& [name, after] : touched_) {
    auto was = before(name);
    if (was != after) changes.push_back({name, std::move(was), after});
  }
  return changes;
}

}  // namespace mc::control
