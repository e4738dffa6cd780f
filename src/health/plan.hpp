// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is to be checked: the distinct targets of all pools, each with the backends that have it.
// Pure.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "net/backend_address.hpp"
#include "policy/live_pool.hpp"

namespace mc::health {

/// What one check connects to and asks. A value.
struct Target {
  BackendAddress address;
  policy::CheckKind kind = policy::CheckKind::kTcp;
  std::string name;  // of a TLS check; empty for others
  policy::SendProxy send_proxy = policy::SendProxy::kNone;

  bool operator==(const Target&) const = default;
};

/// A text that only equal targets share.
[[nodiscard]] std::string key_of(const Target& target);

/// A backend of a pool that a target's results count for.
struct Member {
  std::shared_ptr<const policy::LivePool> pool;
  std::shared_ptr<policy::BackendState> state;

  [[nodiscard]] const policy::Check& check() const { return pool->spec().settings.check; }
};

struct Planned {
  std::string key;  // of the target
  Target target;
  std::vector<Member> members;  // at least one
};

struct Plan {
  std::vector<Planned> targets;  // in the order of the pools' names
  std::size_t left_out = 0;      // backends whose target would be one too many
};

/// Pools without checks, and backends in maintenance, are not in it.
[[nodiscard]] Plan plan_checks(const policy::LivePools& pools, std::size_t targets_max);

}  // namespace mc::health
