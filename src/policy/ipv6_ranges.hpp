// SPDX-License-Identifier: Apache-2.0
#pragma once
// CIDR ranges of IPv6, laid out for lookup: a static search tree over the upper halves of the first
// addresses. Blocks are seldom longer than /64, so the lower halves are kept apart and seldom read.
// Two million ranges take 36 MB, and a lookup misses the caches once or twice.

#include <absl/numeric/int128.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/cidr_range.hpp"

namespace mc::policy {

/// Immutable once built; any thread.
class Ipv6Ranges {
 public:
  /// No blocks: kNoBlock everywhere.
  Ipv6Ranges() = default;
  /// `ranges` as flatten() makes them.
  explicit Ipv6Ranges(const std::vector<CidrRange<absl::uint128>>& ranges);

  /// The length of the longest block that holds the address, or kNoBlock.
  [[nodiscard]] BlockLength length_at(std::uint64_t upper, std::uint64_t lower) const;

  [[nodiscard]] std::size_t heap_bytes() const;

 private:
  static constexpr std::size_t kFanout = 16;  // a power of two
  /// Two cache lines side by side: fetched together, they cost little more than one.
  struct alignas(64) Node {
    std::array<std::uint64_t, kFanout> keys;
  };

  [[nodiscard]] std::uint64_t upper_of(std::size_t range) const {
    return layers_.back()[range / kFanout].keys[range % kFanout];
  }
  [[nodiscard]] std::size_t last_range_up_to(std::uint64_t upper) const;
  [[nodiscard]] std::size_t last_range_up_to(std::uint64_t upper, std::uint64_t lower,
                                             std::size_t bound) const;

  /// The root comes first. The last layer has the upper half of every range's first address; each
  /// layer above has the first key of every node in the layer below.
  std::vector<std::vector<Node>> layers_;
  std::vector<std::uint64_t> lower_;  // by range: the lower half of its first address
  std::vector<BlockLength> lengths_;  // by range
};

}  // namespace mc::policy
