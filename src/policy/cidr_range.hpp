// SPDX-License-Identifier: Apache-2.0
#pragma once
// Nested CIDR blocks turned into consecutive ranges, the form in which one search finds the longest
// block that holds an address. The same for both families: `Address` is std::uint32_t or
// absl::uint128, an address as a number.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace mc::policy {

/// How many leading bits a block fixes, counted in its family: 0..32 or 0..128.
using BlockLength = std::uint8_t;
/// In the place of a length: no block holds these addresses.
inline constexpr BlockLength kNoBlock = 0xff;

/// Addresses from `first` on, up to the next range: the longest block that holds each of them has
/// `length` bits. The length is enough: the block is the address cut to that many bits.
template <class Address>
struct CidrRange {
  Address first;
  BlockLength length;
};

/// A block: the address that it begins with, and its length.
template <class Address>
struct CidrBlock {
  Address first;
  BlockLength length;

  [[nodiscard]] Address last() const {
    if (length == std::numeric_limits<Address>::digits) return first;
    return first | (std::numeric_limits<Address>::max() >> length);
  }
};

/// Builds the ranges from blocks in their order of first address, outer blocks before inner ones.
template <class Address>
class CidrFlattener {
 public:
  void add(const CidrBlock<Address>& block) {
    close_before(block.first);
    begin_range(block.first, block.length);
    open_.push_back(block);
  }

  std::vector<CidrRange<Address>> finish() && {
    while (!open_.empty()) close_innermost();
    return std::move(ranges_);
  }

 private:
  void close_before(const Address& address) {
    while (!open_.empty() && open_.back().last() < address) close_innermost();
  }

  /// Behind the end of a block, the block around it continues.
  void close_innermost() {
    const Address last = open_.back().last();
    open_.pop_back();
    if (last == std::numeric_limits<Address>::max()) return;
    begin_range(last + 1, open_.empty() ? kNoBlock : open_.back().length);
  }

  void begin_range(const Address& first, BlockLength length) {
    // A range that began at the same address is empty, and one that continues with the same length
    // needs no range of its own.
    if (ranges_.back().first == first) ranges_.pop_back();
    if (ranges_.empty() || ranges_.back().length != length) ranges_.push_back({first, length});
  }

  std::vector<CidrBlock<Address>> open_;  // those around the current address, outermost first
  std::vector<CidrRange<Address>> ranges_{{Address{0}, kNoBlock}};
};

/// The ranges that the blocks make, by address; the first begins at address 0. Blocks may repeat
/// and nest; n blocks make at most 2n + 1 ranges.
template <class Address>
std::vector<CidrRange<Address>> flatten(std::vector<CidrBlock<Address>> blocks) {
  std::ranges::sort(blocks, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.length < b.length;
  });
  CidrFlattener<Address> flattener;
  for (const auto& block : blocks) flattener.add(block);
  return std::move(flattener).finish();
}

}  // namespace mc::policy
