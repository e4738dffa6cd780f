// SPDX-License-Identifier: Apache-2.0
#pragma once
// How names are resolved: the name servers, the bounds of a TTL, and the families of addresses. A
// value; any thread.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "net/socket_address.hpp"

namespace mc::dns {

enum class Family : std::uint8_t { kAny, kIpv4, kIpv6 };

struct Settings {
  /// The name servers, tried in this order; empty: those of resolv_conf. A link-local one works
  /// there only: c-ares 1.18 takes no interface.
  std::vector<SocketAddress> servers;
  /// A TTL below ttl_min counts as ttl_min, one above ttl_max as ttl_max.
  std::chrono::milliseconds ttl_min{5'000}, ttl_max{300'000};
  Family family = Family::kAny;
  /// resolv.conf(5): servers, search domains and options. Read again when the file changes.
  std::string resolv_conf = "/etc/resolv.conf";
};

}  // namespace mc::dns
