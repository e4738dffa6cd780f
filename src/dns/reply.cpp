// SPDX-License-Identifier: Apache-2.0
#include "dns/reply.hpp"

#include <algorithm>

#include "dns/limits.hpp"

namespace mc::dns {
namespace {

bool has_addresses(const Reply& reply) { return reply.kind == Reply::Kind::kAddresses; }

void take_one(std::vector<IpAddress>& known, const Reply& reply) {
  if (reply.kind != Reply::Kind::kFailed) known = reply.addresses;
}

}  // namespace

void Known::take(const Replies& replies) {
  take_one(ipv4, replies.ipv4);
  take_one(ipv6, replies.ipv6);
}

Answer Known::answer() const {
  Answer answer{.addresses = ipv4};
  auto& all = answer.addresses;
  all.insert(all.end(), ipv6.begin(), ipv6.end());
  std::ranges::sort(all);
  const auto repeated = std::ranges::unique(all);
  all.erase(repeated.begin(), repeated.end());
  if (all.size() > kAddressesMax) all.resize(kAddressesMax);
  return answer;
}

std::optional<Failure> failure_of(const Replies& replies) {
  const auto& [ipv4, ipv6] = replies;
  if (has_addresses(ipv4) || has_addresses(ipv6)) return std::nullopt;
  if (ipv4.kind == Reply::Kind::kFailed) return Failure{ipv4.why};
  if (ipv6.kind == Reply::Kind::kFailed) return Failure{ipv6.why};
  const bool is_unknown = ipv4.kind == Reply::Kind::kNoName || ipv6.kind == Reply::Kind::kNoName;
  return Failure{is_unknown ? "no such name" : "no address"};
}

bool is_partial(const Replies& replies) {
  return replies.ipv4.kind == Reply::Kind::kFailed || replies.ipv6.kind == Reply::Kind::kFailed;
}

std::chrono::seconds ttl_of(const Replies& replies) {
  if (!has_addresses(replies.ipv4)) return replies.ipv6.ttl;
  if (!has_addresses(replies.ipv6)) return replies.ipv4.ttl;
  return std::min(replies.ipv4.ttl, replies.ipv6.ttl);
}

}  // namespace mc::dns
