// SPDX-License-Identifier: Apache-2.0
#pragma once
// A pool in force: its specification, and for each backend what changes while it runs. A change of
// a pool makes another LivePool, in which backends that stay keep their state. A backend that is a
// name stands here as each of its addresses, so another answer of DNS makes another LivePool, too.
// What changes without both (health, ejection, counts) is in shared atomics: it publishes no
// policy.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "net/ip.hpp"
#include "policy/connection_counts.hpp"
#include "policy/pool.hpp"

namespace mc::policy {

/// The result of checks.
enum class Health : std::uint8_t { kUnchecked, kUp, kDown };

/// What changes of a backend of a pool. Shared by all versions of the pool and by its sessions. Any
/// thread; workers read it with relaxed loads when they choose.
class BackendState {
 public:
  BackendState(std::string pool, BackendAddress address)
      : pool_(std::move(pool)), address_(std::move(address)) {}
  BackendState(const BackendState&) = delete;
  BackendState& operator=(const BackendState&) = delete;

  [[nodiscard]] const std::string& pool() const { return pool_; }
  [[nodiscard]] const BackendAddress& address() const { return address_; }

  [[nodiscard]] Health health() const { return health_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool is_ejected(Instant now) const {
    return now.time_since_epoch().count() < ejected_until_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_alive(Instant now) const {
    return health() != Health::kDown && !is_ejected(now);
  }
  /// Since when it takes connections again after it took none; the epoch: since the start.
  [[nodiscard]] Instant returned_at() const {
    return Instant(Clock::duration(returned_at_.load(std::memory_order_relaxed)));
  }

  /// Sets the result of checks, and why; since now if it is another one.
  void set_health(Health health, std::string why, Instant now);
  /// An operator made it ready again.
  void set_returned(Instant now) {
    returned_at_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  }

  /// A dial has succeeded.
  void dialled() {
    if (failures_in_row_.load(std::memory_order_relaxed) == 0) return;
    failures_in_row_.store(0, std::memory_order_relaxed);
    ejections_.store(0, std::memory_order_relaxed);
  }
  /// A dial has failed for a reason of the backend's. Returns whether those are enough in a row to
  /// eject it (kFailuresToEject); see LivePool::eject().
  bool dial_failed();
  /// Takes it out for a time that grows with each ejection in a row. Returns how long.
  std::chrono::milliseconds eject(std::string why, Instant now);

  /// What operators see.
  struct Shown {
    Health health = Health::kUnchecked;
    bool is_ejected = false;
    std::string why;  // the last check's result, or the error that ejected it; may be empty
    Instant since;    // of this health or ejection; the epoch: since the start
  };
  [[nodiscard]] Shown shown(Instant now) const;

  ConnectionCounts counts;

 private:
  const std::string pool_;
  const BackendAddress address_;
  std::atomic<Health> health_{Health::kUnchecked};
  std::atomic<std::uint32_t> failures_in_row_{0};
  std::atomic<std::uint32_t> ejections_{0};  // in a row
  std::atomic<Clock::rep> ejected_until_{0};
  std::atomic<Clock::rep> returned_at_{0};

  mutable std::mutex text_;  // of what follows, which no choice reads
  std::string health_why_, ejected_why_;
  Instant health_since_, ejected_at_;
};

/// The last good answer of DNS for each name that backends have, sorted. Never changed once it is
/// shared.
using ResolvedNames = std::map<std::string, std::vector<IpAddress>, std::less<>>;

/// A backend to connect to: as it is configured, or one address of a name.
struct LiveBackend {
  Backend spec;                         // of a name: with this address in its place
  std::size_t configured = 0;           // its place in the pool's specification
  std::shared_ptr<BackendState> state;  // never null
  std::uint64_t seed = 0;               // of its address, for hashes: the same on every proxy
  double inverse_weight = 1;
};

/// The backends of a pool that are tried before those of the next tier.
struct Tier {
  std::vector<std::uint32_t> members;      // places in the pool
  std::vector<std::uint32_t> weights_sum;  // up to and including each member
  std::uint32_t step = 1;                  // of round robin, coprime to the sum of the weights
  bool has_equal_weights = true;
};

/// Immutable but for the states; any thread.
class LivePool {
 public:
  /// Backends that `before` (or null) has keep their state, as do addresses that return while open
  /// connections still have it; one that was not ready and is now returns at `now`. One thread at
  /// a time makes the versions of a pool.
  LivePool(Pool spec, const ResolvedNames& resolved, const LivePool* before, Instant now);

  [[nodiscard]] const Pool& spec() const { return spec_; }
  /// In the order of the specification; of a name, its addresses in order, at most
  /// kNameAddressesMax. An address that stands twice counts once: the one that is written before
  /// one of a name, else the first.
  [[nodiscard]] std::span<const LiveBackend> backends() const { return backends_; }
  /// The places, in the specification, of names that have no address.
  [[nodiscard]] std::span<const std::size_t> unresolved() const { return unresolved_; }
  /// Those that are ready: with a weight; backups; of weight 0. Only tiers that have members.
  [[nodiscard]] std::span<const Tier> tiers() const { return tiers_; }
  /// How many backends are in them.
  [[nodiscard]] std::size_t ready_count() const { return ready_count_; }
  /// The number of a choice of this pool, for round robin. Any thread.
  [[nodiscard]] std::uint64_t next_turn() const {
    return shared_->turns.fetch_add(1, std::memory_order_relaxed);
  }
  /// The weight in force: less than configured for slow_start after a return.
  [[nodiscard]] std::uint32_t weight_of(const LiveBackend& backend, Instant now) const;
  /// Ejects the backend whose dials have failed too often in a row, unless more than half of those
  /// that are ready would then be out, it is out already, or it is not ready any more: a dial may
  /// outlast a change of the pool. Returns for how long; nothing: it was not.
  std::optional<std::chrono::milliseconds> eject(BackendState& backend, std::string why,
                                                 Instant now) const;

 private:
  void expand(const ResolvedNames& resolved);
  void add(std::size_t configured, const BackendAddress& address);
  void keep_states(const LivePool* before, Instant now);
  void make_tiers();

  Pool spec_;
  std::vector<LiveBackend> backends_;
  std::vector<std::size_t> unresolved_;
  std::vector<Tier> tiers_;
  std::size_t ready_count_ = 0;
  // Of all versions of this pool.
  struct Shared {
    std::atomic<std::uint64_t> turns{0};
    std::mutex ejecting;  // so that two threads do not eject one too many
    // By address; only the constructor uses it.
    std::map<std::string, std::weak_ptr<BackendState>> states;
  };
  std::shared_ptr<Shared> shared_;
};

/// All pools in force, by name. Never changed once it is shared.
using LivePools = std::map<std::string, std::shared_ptr<const LivePool>, std::less<>>;

/// The names that backends of these pools have, sorted, each once.
std::vector<std::string> names_of(const LivePools& pools);

/// The next version of all pools: those that have one of the `changed` names get their addresses
/// in `resolved`, the others are shared. Null: none has one of them.
std::shared_ptr<const LivePools> with_resolved(const LivePools& pools,
                                               std::span<const std::string> changed,
                                               const ResolvedNames& resolved, Instant now);

}  // namespace mc::policy
