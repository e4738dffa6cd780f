// SPDX-License-Identifier: Apache-2.0
#pragma once
// Chooses a backend of a pool for one connection. Pure but for relaxed loads of the backends'
// states; any thread.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "base/clock.hpp"
#include "net/ip.hpp"
#include "policy/live_pool.hpp"

namespace mc::policy {

/// What a choice depends on, besides the pool.
struct ChoiceInput {
  IpAddress client;
  std::string_view name;     // that the client asked for
  std::uint64_t turn = 0;    // LivePool::next_turn()
  std::uint64_t random = 0;  // 64 random bits
  Instant now;
  std::span<const BackendState* const> tried;  // those that are not to be chosen again
};

enum class NoChoice : std::uint8_t {
  kNone,  // none is ready, or all were tried, or none is alive and the pool refuses then
  kFull,  // at least one would have been chosen, but is at its max_connections
};

/// The place of the chosen backend. Of the tiers of the pool (those with a weight, backups, those
/// of weight 0), the first one that has an eligible backend: alive, not full, not tried. Where none
/// is alive in any, those that are thought dead, unless the pool refuses then.
std::expected<std::size_t, NoChoice> choose(const LivePool& pool, const ChoiceInput& by);

}  // namespace mc::policy
