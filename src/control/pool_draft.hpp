// SPDX-License-Identifier: Apache-2.0
#pragma once
// Applies a request's changes of pools and their backends to the pools in force. The part of a
// Draft (draft.hpp) that knows no routes. One thread; `base` must outlive it.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/change.hpp"
#include "control/effect.hpp"
#include "policy/live_pool.hpp"
#include "policy/pool.hpp"

namespace mc::control {

/// A validated change of a pool.
struct ValidPool {
  enum class Op : std::uint8_t { kAdd, kPut, kRemove };
  Op op;
  std::string name;
  std::optional<policy::Pool> pool;  // nothing for kRemove
};
/// A validated change of one backend of a pool.
struct ValidBackend {
  enum class Op : std::uint8_t { kAdd, kPut, kRemove, kSetState };
  Op op;
  std::string pool;
  policy::Backend backend;  // for kRemove only the address counts, for kSetState also the state
};

/// What a request changes of a pool, net.
struct PoolChange {
  std::string name;
  std::optional<policy::Pool> before;  // nothing: it is new
  std::optional<policy::Pool> after;   // nothing: it was removed
};

class PoolDraft {
 public:
  explicit PoolDraft(const policy::LivePools& base) : base_(base), count_(base.size()) {}

  /// Applies the change. Refuses to add what exists and to change or remove what does not, to
  /// remove a pool's last backend, and more pools or backends than the limits allow.
  Outcome<Effect> apply(const ValidPool& change);
  Outcome<Effect> apply(const ValidBackend& change);

  /// Whether there is a pool of this name now.
  [[nodiscard]] bool has(std::string_view name) const;
  /// Whether there was one before the request.
  [[nodiscard]] bool had(std::string_view name) const { return base_.contains(name); }
  /// Ordered by name.
  [[nodiscard]] std::vector<PoolChange> difference() const;

 private:
  /// The pool as it is now, to be changed; nothing in it if there is none.
  std::optional<policy::Pool>& touch(const std::string& name);
  [[nodiscard]] std::optional<policy::Pool> before(std::string_view name) const;
  /// The error text for a name that no pool has. It lists the existing ones if they are few.
  [[nodiscard]] std::string unknown(std::string_view name) const;

  /// The error text for an address that no backend of the pool has, unless a name stands for it.
  [[nodiscard]] std::string no_backend(std::string_view pool, const BackendAddress& address) const;

  const policy::LivePools& base_;
  std::size_t count_;  // of the pools now
  /// The touched ones, as they are now.
  std::map<std::string, std::optional<policy::Pool>, std::less<>> touched_;
};

}  // namespace mc::control
