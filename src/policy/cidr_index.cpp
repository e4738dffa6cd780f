// SPDX-License-Identifier: Apache-2.0
#include "policy/cidr_index.hpp"

#include <absl/numeric/int128.h>

#include <cstdint>
#include <vector>

#include "policy/cidr_range.hpp"

namespace mc::policy {
namespace {

/// Bytes `first` to `first + 7` of the address as a number.
std::uint64_t half_of(const IpAddress& address, std::size_t first) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value = value << 8 | address.bytes()[first + i];
  return value;
}

std::uint64_t upper_half(const IpAddress& address) { return half_of(address, 0); }
std::uint64_t lower_half(const IpAddress& address) { return half_of(address, 8); }

}  // namespace

CidrIndex::CidrIndex(std::span<const IpPrefix> prefixes) {
  std::vector<CidrBlock<std::uint32_t>> v4;
  std::vector<CidrBlock<absl::uint128>> v6;
  for (const IpPrefix& prefix : prefixes) {
    const IpAddress& network = prefix.network();
    const auto length = static_cast<BlockLength>(prefix.length());
    if (network.is_v4()) {
      v4.push_back({network.v4_value(), length});
    } else {
      v6.push_back({absl::MakeUint128(upper_half(network), lower_half(network)), length});
    }
  }
  if (!v4.empty()) v4_ = Ipv4Ranges(flatten(std::move(v4)));
  if (!v6.empty()) v6_ = Ipv6Ranges(flatten(std::move(v6)));
}

bool CidrIndex::contains(const IpAddress& address) const { return length_at(address) != kNoBlock; }

std::optional<IpPrefix> CidrIndex::longest_match(const IpAddress& address) const {
  const BlockLength length = length_at(address);
  if (length == kNoBlock) return std::nullopt;
  return IpPrefix::around(address, length);
}

BlockLength CidrIndex::length_at(const IpAddress& address) const {
  if (address.is_v4()) return v4_.length_at(address.v4_value());
  return v6_.length_at(upper_half(address), lower_half(address));
}

}  // namespace mc::policy
