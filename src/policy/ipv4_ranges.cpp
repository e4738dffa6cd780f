// SPDX-License-Identifier: Apache-2.0
#include "policy/ipv4_ranges.hpp"

namespace mc::policy {
namespace {

constexpr std::size_t kUpperHalves = std::size_t{1} << 16;

}  // namespace

Ipv4Ranges::Ipv4Ranges(const std::vector<CidrRange<std::uint32_t>>& ranges)
    : begin_(kUpperHalves + 1) {
  lower_.reserve(ranges.size());
  lengths_.reserve(ranges.size());
  for (const auto& range : ranges) {
    ++begin_[(range.first >> 16) + 1];
    lower_.push_back(static_cast<std::uint16_t>(range.first));
    lengths_.push_back(range.length);
  }
  for (std::size_t i = 1; i <= kUpperHalves; ++i) begin_[i] += begin_[i - 1];
}

BlockLength Ipv4Ranges::length_at(std::uint32_t address) const {
  if (begin_.empty()) return kNoBlock;
  const std::size_t upper = address >> 16;
  const auto lower = static_cast<std::uint16_t>(address);

  // The result is the range before the first one that begins behind the address. That may be the
  // last range of an earlier upper half. There always is one, because a range begins at 0.
  std::size_t behind = begin_[upper];
  std::size_t count = begin_[upper + 1] - behind;
  __builtin_prefetch(&lengths_[behind - (behind != 0)]);
  while (count > 0) {
    // Without a branch: which half it is cannot be predicted.
    const std::size_t half = (count + 1) / 2;
    behind += lower_[behind + half - 1] <= lower ? half : 0;
    count -= half;
  }
  return lengths_[behind - 1];
}

std::size_t Ipv4Ranges::heap_bytes() const {
  return begin_.capacity() * sizeof(begin_[0]) + lower_.capacity() * sizeof(lower_[0]) +
         lengths_.capacity() * sizeof(lengths_[0]);
}

}  // namespace mc::policy
