// SPDX-License-Identifier: Apache-2.0
#pragma once
// What came of one query for a name: a reply per family, and what both mean together. The families
// are judged apart, so that a name keeps its IPv6 addresses while only the question for IPv4 is
// answered. Pure; values.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dns/answer.hpp"
#include "net/ip.hpp"

namespace mc::dns {

/// The reply to the question for a name's addresses of one family.
struct Reply {
  enum class Kind : std::uint8_t {
    kAddresses,
    kNoAddress,  // the name has none of this family, or nobody asked for it
    kNoName,     // NXDOMAIN
    kFailed,     // no reply, or one that tells nothing about the name
  };
  Kind kind = Kind::kNoAddress;
  std::vector<IpAddress> addresses;  // kAddresses: not empty
  std::chrono::seconds ttl{0};       // kAddresses: the least of the records that led to them
  std::string why;                   // kFailed
};

struct Replies {
  Reply ipv4, ipv6;
};

/// The last known addresses of a name.
struct Known {
  std::vector<IpAddress> ipv4, ipv6;

  /// A family whose question failed keeps its addresses.
  void take(const Replies& replies);
  /// Sorted, distinct, at most kAddressesMax.
  [[nodiscard]] Answer answer() const;
};

/// Nothing if the replies have an address.
std::optional<Failure> failure_of(const Replies& replies);
/// Whether a question got no answer, so that the replies may lack addresses.
bool is_partial(const Replies& replies);
/// The least of the families that have addresses. There is one.
std::chrono::seconds ttl_of(const Replies& replies);

}  // namespace mc::dns
