// SPDX-License-Identifier: Apache-2.0
#pragma once
// CIDR ranges of IPv4, laid out for lookup: a table indexed by the upper half of an address leads
// to the few ranges that begin under it, of which only the lower halves are kept. Two million
// ranges take 6 MB, and a lookup misses the caches about once.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/cidr_range.hpp"

namespace mc::policy {

/// Immutable once built; any thread.
class Ipv4Ranges {
 public:
  /// No blocks: kNoBlock everywhere.
  Ipv4Ranges() = default;
  /// `ranges` as flatten() makes them.
  explicit Ipv4Ranges(const std::vector<CidrRange<std::uint32_t>>& ranges);

  /// The length of the longest block that holds the address, or kNoBlock.
  [[nodiscard]] BlockLength length_at(std::uint32_t address) const;

  [[nodiscard]] std::size_t heap_bytes() const;

 private:
  std::vector<std::uint32_t> begin_;  // by upper half: the first range that begins there or later
  std::vector<std::uint16_t> lower_;  // by range: the lower half of its first address
  std::vector<BlockLength> lengths_;  // by range
};

}  // namespace mc::policy
