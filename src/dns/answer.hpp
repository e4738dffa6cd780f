// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a resolver reports of a name. Values; any thread.

#include <string>
#include <vector>

#include "net/ip.hpp"

namespace mc::dns {

/// The addresses of a name: sorted, distinct, at most kAddressesMax (the lowest ones), never empty.
struct Answer {
  std::vector<IpAddress> addresses;
  bool operator==(const Answer&) const = default;
};

/// Why a name has no addresses, in words for an operator: "no such name", "no address", "SERVFAIL",
/// "REFUSED", "no reply".
struct Failure {
  std::string why;
  bool operator==(const Failure&) const = default;
};

}  // namespace mc::dns
