// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a firewall rule must look like, wherever it comes from: the TOML file and the admin API read
// their texts with these. And which addresses exclude each other. Errors name the text and what
// would be right. Pure; any thread.

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "net/ip.hpp"
#include "net/socket_address.hpp"

namespace mc::config {

/// A rule for one address. A block is told to belong in blocked_cidrs.
Result<IpAddress> parse_blocked_ip(std::string_view text);

/// A rule for a block. The error for a single address points to blocked_ips.
Result<IpPrefix> parse_blocked_cidr(std::string_view text);

/// A rule for a country: its ISO 3166-1 alpha-2 code, returned in capitals.
Result<std::string> parse_blocked_country(std::string_view text);

/// Whether two listeners cannot both have their address: the same one, or both every address of a
/// family.
bool collide(const SocketAddress& a, const SocketAddress& b);

/// Whether a connection to `backend` would surely reach `listener`: at its address, or on the
/// loopback of a machine on all of whose addresses it listens.
bool leads_back(const SocketAddress& backend, const SocketAddress& listener);

}  // namespace mc::config
