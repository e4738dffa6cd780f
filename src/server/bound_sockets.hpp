// SPDX-License-Identifier: Apache-2.0
#pragma once
// The first steps of a start, before the server confines itself and serves: it contacts the running
// server, and opens sockets for all addresses. `mc-proxy check` uses the same steps, and stops
// there. One thread.

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

/// Whether to take over from the server that runs with this database, if there is one.
enum class TakeOver : std::uint8_t { kNo, kYes };

/// Must be destroyed last of a server's parts: if this server did not take over, the predecessor
/// then takes its sockets back.
struct BoundSockets {
  std::unique_ptr<lifecycle::Predecessor> predecessor;  // null: there is none to take over from
  lifecycle::InheritedSockets inherited;
  std::vector<std::vector<Fd>> listeners;  // in configuration order
  Fd api_tcp, api_local;                   // api_local only if inherited
  Fd metrics;
};

/// Checks the number of descriptors, finds the predecessor, and opens the sockets.
Result<void> bind_all(const config::Config& config, TakeOver take_over, BoundSockets& bound);

// Each function returns the socket that was inherited for the address, or else a new one.

/// For each of these listeners its sockets, at least one for each worker, or the error. Opens all
/// in one call, because listeners may overlap, such as :443 and 127.0.0.1:443. `held` are addresses
/// that this server will get from the running one: they do not conflict.
std::vector<Result<std::vector<Fd>>> open_listeners(
    const std::vector<const config::Listener*>& listeners, std::size_t workers,
    lifecycle::InheritedSockets& inherited, const std::vector<SocketAddress>& held);
Result<Fd> open_api(const SocketAddress& address, lifecycle::InheritedSockets& inherited);
Result<Fd> open_metrics(const SocketAddress& address, lifecycle::InheritedSockets& inherited);

/// The number of workers that this configuration has on this machine.
std::size_t workers_of(const config::Config& config);

/// Requires that this number of `descriptors` is enough to start with this configuration.
Result<void> require_descriptors(const config::Config& config, std::uint64_t descriptors);

/// The number of sessions that this number of `descriptors` allows with this configuration.
std::uint64_t connections_that_fit(const config::Config& config, std::uint64_t descriptors);

/// All options of the data plane except the sockets.
proxy::DataPlaneOptions plane_options(const config::Config& config, std::uint64_t connections);

}  // namespace mc::server
