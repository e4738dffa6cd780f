// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads [dns] of the configuration file, and its servers' addresses. Pure; any thread.

#include <string_view>

#include "base/result.hpp"
#include "config/config.hpp"
#include "config/section.hpp"
#include "net/socket_address.hpp"

namespace mc::config {

/// The section, or the defaults if there is none.
Dns read_dns(const Section& root, Problems& problems);

/// A server: an address with a port, or an address alone, for port 53. Errors name the text and the
/// correct form.
Result<SocketAddress> parse_dns_server(std::string_view text);

}  // namespace mc::config
