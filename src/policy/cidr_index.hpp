// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which address blocks hold an address: an immutable index of up to millions of CIDR blocks. A
// million blocks are indexed in a fraction of a second; every connection does one lookup.

#include <cstddef>
#include <optional>
#include <span>

#include "net/ip.hpp"
#include "policy/ipv4_ranges.hpp"
#include "policy/ipv6_ranges.hpp"

namespace mc::policy {

/// An immutable set of address blocks. The families are separate: ::/0 holds no IPv4 address, in
/// mapped form or not, as in IpPrefix::contains(). Any thread.
class CidrIndex {
 public:
  /// No blocks.
  CidrIndex() = default;
  /// Blocks may repeat and nest.
  explicit CidrIndex(std::span<const IpPrefix> prefixes);

  /// Whether any block holds the address.
  [[nodiscard]] bool contains(const IpAddress& address) const;

  /// The longest of the blocks that hold the address. For logs: much dearer than contains().
  [[nodiscard]] std::optional<IpPrefix> longest_match(const IpAddress& address) const;

  /// What the index takes on the heap.
  [[nodiscard]] std::size_t heap_bytes() const { return v4_.heap_bytes() + v6_.heap_bytes(); }

 private:
  [[nodiscard]] BlockLength length_at(const IpAddress& address) const;

  Ipv4Ranges v4_;
  Ipv6Ranges v6_;
};

}  // namespace mc::policy
