// SPDX-License-Identifier: Apache-2.0
#pragma once
// Replies and addresses as tests write them.

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "dns/reply.hpp"

namespace mc::dns::testing {

inline std::vector<IpAddress> ips(std::initializer_list<std::string_view> texts) {
  std::vector<IpAddress> all;
  for (const std::string_view text : texts) all.push_back(IpAddress::parse(text).value());
  return all;
}

inline Reply has(std::initializer_list<std::string_view> addresses,
                 std::chrono::seconds ttl = std::chrono::seconds(60)) {
  return {.kind = Reply::Kind::kAddresses, .addresses = ips(addresses), .ttl = ttl};
}
inline Reply no_address() { return {}; }
inline Reply no_name() { return {.kind = Reply::Kind::kNoName}; }
inline Reply failed(const std::string& why) { return {.kind = Reply::Kind::kFailed, .why = why}; }

}  // namespace mc::dns::testing
