// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a server has before it confines itself and serves: the place of the server that runs, and
// sockets for all addresses. `mc-proxy check` takes the same steps and stops there. One thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "config/config.hpp"
#include "lifecycle/inherited_sockets.hpp"
#include "lifecycle/predecessor.hpp"
#include "proxy/data_plane.hpp"

namespace mc::server {

/// Whether the server that runs with this database, if one does, hands over to this one.
enum class TakeOver : std::uint8_t { kNo, kYes };

/// Destroyed after all that the server is made of: the predecessor then takes back what it had
/// given.
struct BoundSockets {
  std::unique_ptr<lifecycle::Predecessor> predecessor;  // null: no server is taken over from
  lifecycle::InheritedSockets inherited;
  std::vector<std::vector<Fd>> listeners;  // in configuration order
  Fd api_tcp, api_local;                   // the second: only if inherited
  Fd metrics;
};

/// Takes these steps: looks whether there are descriptors enough, finds the predecessor, opens the
/// sockets.
Result<void> bind_all(const config::Config& config, TakeOver take_over, BoundSockets& bound);

// Each socket is the one that was inherited for the address, or else a new one.

/// Of each of these listeners the sockets, at least one for each worker, or why there are none. All
/// are held together: listeners may overlap, such as :443 and 127.0.0.1:443. `held` are addresses
/// that this server will have, from the one that runs, and that are no conflict.
std::vector<Result<std::vector<Fd>>> open_listeners(
    const std::vector<const config::Listener*>& listeners, std::size_t workers,
    lifecycle::InheritedSockets& inherited, const std::vector<SocketAddress>& held);
Result<Fd> open_api(const SocketAddress& address, lifecycle::InheritedSockets& inherited);
Result<Fd> open_metrics(const SocketAddress& address, lifecycle::InheritedSockets& inherited);

/// How many workers the configuration makes here.
std::size_t workers_of(const config::Config& config);

/// That so many `descriptors` are enough to start with this configuration.
Result<void> require_descriptors(const config::Config& config, std::uint64_t descriptors);

/// How many sessions fit into so many `descriptors` with this configuration.
std::uint64_t connections_that_fit(const config::Config& config, std::uint64_t descriptors);

/// What the data plane is made from, but for the sockets.
proxy::DataPlaneOptions plane_options(const config::Config& config, std::uint64_t connections);

}  // namespace mc::server
