// SPDX-License-Identifier: Apache-2.0
#pragma once
// Parses firewall rules, for the TOML file and the admin API alike, and the addresses of the file.
// Also decides which addresses exclude each other. Errors name the text and the correct form. Pure;
// any thread.

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "net/backend_address.hpp"
#include "net/ip.hpp"
#include "net/socket_address.hpp"

namespace mc::config {

/// A rule for one address. The error for a block points to blocked_cidrs.
Result<IpAddress> parse_blocked_ip(std::string_view text);

/// A rule for a block. The error for a single address points to blocked_ips.
Result<IpPrefix> parse_blocked_cidr(std::string_view text);

/// A rule for a country: its ISO 3166-1 alpha-2 code, returned in capitals.
Result<std::string> parse_blocked_country(std::string_view text);

/// A local address that backends are dialled from.
Result<IpAddress> parse_source(std::string_view text);

/// Whether two listeners cannot both bind: they have the same address, or both have every address
/// of a family.
bool collide(const SocketAddress& a, const SocketAddress& b);

/// Whether a connection to `backend` certainly reaches `listener`: at its address, or at a loopback
/// address if it listens on all addresses of the machine. What a name leads to is not known here.
bool leads_back(const BackendAddress& backend, const SocketAddress& listener);

}  // namespace mc::config
