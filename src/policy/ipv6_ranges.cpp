// SPDX-License-Identifier: Apache-2.0
#include "policy/ipv6_ranges.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace mc::policy {
namespace {

constexpr std::uint64_t kLastUpper = std::numeric_limits<std::uint64_t>::max();

}  // namespace

Ipv6Ranges::Ipv6Ranges(const std::vector<CidrRange<absl::uint128>>& ranges) {
  std::vector<std::uint64_t> keys;
  keys.reserve(ranges.size());
  lower_.reserve(ranges.size());
  lengths_.reserve(ranges.size());
  for (const auto& range : ranges) {
    keys.push_back(absl::Uint128High64(range.first));
    lower_.push_back(absl::Uint128Low64(range.first));
    lengths_.push_back(range.length);
  }

  do {
    std::vector<Node> layer((keys.size() + kFanout - 1) / kFanout);
    for (Node& node : layer) node.keys.fill(kLastUpper);
    for (std::size_t i = 0; i < keys.size(); ++i) layer[i / kFanout].keys[i % kFanout] = keys[i];
    keys.clear();
    for (const Node& node : layer) keys.push_back(node.keys[0]);
    layers_.insert(layers_.begin(), std::move(layer));
  } while (layers_.front().size() > 1);
}

BlockLength Ipv6Ranges::length_at(std::uint64_t upper, std::uint64_t lower) const {
  if (layers_.empty()) return kNoBlock;
  std::size_t range = last_range_up_to(upper);
  if (upper_of(range) == upper && lower_[range] > lower) {
    range = last_range_up_to(upper, lower, range);
  }
  return lengths_[range];
}

/// The last range whose first address has an upper half of at most `upper`.
std::size_t Ipv6Ranges::last_range_up_to(std::uint64_t upper) const {
  // Nodes are filled up with keys like this one, which must not count.
  if (upper == kLastUpper) return lengths_.size() - 1;

  // The first key of each node on the way is never above `upper`: the parent chose the node by it,
  // and in the root it is 0. The index of the last key not above `upper` is the child's.
  std::size_t position = 0;
  for (const std::vector<Node>& layer : layers_) {
    // Fetches the labels that may be read next along with the last node, not after it.
    if (&layer == &layers_.back()) __builtin_prefetch(&lengths_[position * kFanout]);
    const auto& keys = layer[position].keys;
    std::size_t rank = 0;
    for (std::size_t step = kFanout / 2; step > 0; step /= 2) {
      rank += keys[rank + step] <= upper ? step : 0;
    }
    position = position * kFanout + rank;
  }
  return position;
}

/// The last range, not after `bound`, that begins at this address or before. `bound` is in the /64
/// of the address, but behind the address.
std::size_t Ipv6Ranges::last_range_up_to(std::uint64_t upper, std::uint64_t lower,
                                         std::size_t bound) const {
  const auto begins_behind = [&](std::size_t range) {
    return upper_of(range) == upper && lower_[range] > lower;
  };
  // Few ranges begin in one /64, so the search widens from the near end. Range 0 begins at 0.
  std::size_t step = 1;
  while (begins_behind(bound - std::min(step, bound))) step *= 2;
  std::size_t first = bound - std::min(step, bound);
  while (bound - first > 1) {
    const std::size_t middle = first + (bound - first) / 2;
    (begins_behind(middle) ? bound : first) = middle;
  }
  return first;
}

std::size_t Ipv6Ranges::heap_bytes() const {
  std::size_t bytes =
      lower_.capacity() * sizeof(lower_[0]) + lengths_.capacity() * sizeof(lengths_[0]);
  for (const auto& layer : layers_) bytes += layer.capacity() * sizeof(Node);
  return bytes;
}

}  // namespace mc::policy
