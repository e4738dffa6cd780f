// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads what a listener or a redirect has besides its address and its routes. The pools that they
// name are checked by the caller, who knows all pools. Belongs to one thread, for one load.

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/section.hpp"
#include "policy/listener_settings.hpp"

namespace mc::config {

inline constexpr auto kListenerKeys = std::to_array<std::string_view>(
    {"addr", "freebind", "hello_timeout", "idle_timeout", "max_connections", "proxy_protocol",
     "no_sni", "not_tls", "silent", "refuse", "starttls", "routes"});
inline constexpr auto kRedirectKeys =
    std::to_array<std::string_view>({"addr", "freebind", "listeners", "challenge_pool", "port",
                                     "hello_timeout", "max_connections", "proxy_protocol"});

/// The settings of a table of [[listeners]]. A timeout that is left out is that of `proxy`. Appends
/// the values that name pools to `pools`.
policy::ListenerSettings read_listener_settings(const Section& section, const Proxy& proxy,
                                                std::vector<Node>& pools, Problems& problems);

/// The settings of a table of [[redirects]], which listens at `own`; `listeners` are those of
/// [[listeners]], in their order.
policy::ListenerSettings read_redirect_settings(const Section& section, const Proxy& proxy,
                                                const SocketAddress& own,
                                                std::span<const Listener> listeners,
                                                std::vector<Node>& pools, Problems& problems);

}  // namespace mc::config
