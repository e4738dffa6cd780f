// SPDX-License-Identifier: Apache-2.0
#include "server/bound_sockets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "admin/tcp_listener.hpp"
#include "base/descriptor_limit.hpp"
#include "base/quote.hpp"
#include "metrics/endpoint.hpp"
#include "net/sockets.hpp"
#include "server/host_limits.hpp"

namespace mc::server {
namespace {

Result<void> find_predecessor(const config::Config& config, TakeOver take_over,
                              BoundSockets& bound) {
  auto found = lifecycle::Predecessor::find(config.database.path);
  if (!found.has_value()) return std::unexpected(found.error());
  if (*found == nullptr) return {};
  if (take_over == TakeOver::kNo) {
    return fail(fmt::format(
        "database {}: in use by another mc-proxy server (pid {}); stop that one first, replace it "
        "with this one (mc-proxy upgrade), or give this one another database.path",
        quote(config.database.path), (*found)->pid()));
  }
  bound.predecessor = *std::move(found);
  auto sockets = bound.predecessor->sockets();
  if (!sockets.has_value()) return std::unexpected(sockets.error());
  bound.inherited.add(*std::move(sockets));
  return {};
}

net::ListenAddress place_of(const config::Listener& listener) {
  return {.address = listener.addr, .name = listener.name, .freebind = listener.freebind};
}

// Whether both could take the same connection.
bool overlap(const SocketAddress& a, const SocketAddress& b) { return a.takes(b) || b.takes(a); }

// Explains a port that is in use by a socket that was passed to this process, for another address.
Error explain_taken(const Error& error, const config::Listener& listener,
                    const lifecycle::InheritedSockets& inherited) {
  const std::vector<SocketAddress> passed = inherited.tcp_addresses();
  const auto other = std::ranges::find_if(
      passed, [&](const SocketAddress& one) { return overlap(one, listener.addr); });
  if (other == passed.end()) return error;
  return {
      fmt::format("listen {}: systemd, or the server that runs, holds the port at {}; in a socket "
                  "unit write ListenStream={} (systemctl edit mc-proxy.socket); a server that has "
                  "another address at the same port must be stopped first",
                  listener.name, other->to_string(),
                  listener.name.starts_with(':') ? listener.name.substr(1) : listener.name)};
}

// The kernel lets sockets of one user share a port. A socket of root, as systemd's are, shares only
// with root.
Error explain_beside(const Error& error, const SocketAddress& ours) {
  if (!error.message.contains("in use")) return error;
  return {
      fmt::format("{}; or systemd does not share {}: give it both addresses (ListenStream=) and "
                  "ReusePort=yes in [Socket], or neither",
                  error.message, ours.to_string())};
}

// A listener for which no socket was passed.
struct Missing {
  std::size_t index;
  std::optional<SocketAddress> beside;  // our other address that takes the same connections
};

Result<void> look(const config::Listener& listener, const Missing& missing,
                  const lifecycle::InheritedSockets& inherited) {
  const net::ListenAddress where = place_of(listener);
  if (missing.beside.has_value()) return net::require_unlisted(where);
  auto free = net::require_free(where);
  if (free.has_value()) return {};
  return std::unexpected(explain_taken(free.error(), listener, inherited));
}

// Stores an opened socket in its place, or returns the error.
template <class T>
Result<void> keep(Result<T> opened, T& place) {
  if (!opened.has_value()) return std::unexpected(opened.error());
  place = *std::move(opened);
  return {};
}

}  // namespace

Result<void> bind_all(const config::Config& config, TakeOver take_over, BoundSockets& bound) {
  if (auto enough = require_descriptors(config, raise_descriptor_limit()); !enough.has_value()) {
    return enough;
  }
  if (auto found = find_predecessor(config, take_over, bound); !found.has_value()) {
    return found;
  }
  lifecycle::InheritedSockets& inherited = bound.inherited;
  std::vector<const config::Listener*> listeners;
  for (const config::Listener& listener : config.listeners) listeners.push_back(&listener);
  auto all = open_listeners(listeners, workers_of(config), inherited, {});
  for (auto& opened : all) {
    if (!opened.has_value()) return std::unexpected(opened.error());
    bound.listeners.push_back(*std::move(opened));
  }
  if (const auto& grpc = config.grpc; grpc.has_value()) {
    if (!grpc->socket.empty()) bound.api_local = inherited.take_unix(grpc->socket);
    if (grpc->addr.has_value()) {
      auto opened = keep(open_api(*grpc->addr, inherited), bound.api_tcp);
      if (!opened.has_value()) return opened;
    }
  }
  if (!config.metrics.has_value()) return {};
  return keep(open_metrics(config.metrics->addr, inherited), bound.metrics);
}

std::vector<Result<std::vector<Fd>>> open_listeners(
    const std::vector<const config::Listener*>& listeners, std::size_t workers,
    lifecycle::InheritedSockets& inherited, const std::vector<SocketAddress>& held) {
  std::vector<Result<std::vector<Fd>>> all(listeners.size());
  std::vector<SocketAddress> ours = held;
  std::vector<Missing> missing;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    const config::Listener& listener = *listeners[i];
    auto there = inherited.take(listener.addr);
    if (there.empty()) {
      missing.push_back({.index = i, .beside = std::nullopt});
      continue;
    }
    ours.push_back(listener.addr);
    all[i] = net::adopt_listeners(std::move(there), place_of(listener), workers);
  }
  // Checks all before it opens the first: once open, they would make each other's check fail.
  for (Missing& one : missing) {
    const config::Listener& listener = *listeners[one.index];
    const auto beside = std::ranges::find_if(
        ours, [&](const SocketAddress& other) { return overlap(other, listener.addr); });
    if (beside != ours.end()) one.beside = *beside;
    if (auto free = look(listener, one, inherited); !free.has_value()) {
      all[one.index] = std::unexpected(free.error());
    }
  }
  for (const Missing& one : missing) {
    auto& opened = all[one.index];
    if (!opened.has_value()) continue;
    opened = net::open_shared(place_of(*listeners[one.index]), workers);
    if (!opened.has_value() && one.beside.has_value()) {
      opened = std::unexpected(explain_beside(opened.error(), *one.beside));
    }
  }
  return all;
}

Result<Fd> open_api(const SocketAddress& address, lifecycle::InheritedSockets& inherited) {
  auto there = inherited.take(address);
  if (!there.empty()) return std::move(there.front());
  return admin::TcpListener::listen(address);
}

Result<Fd> open_metrics(const SocketAddress& address, lifecycle::InheritedSockets& inherited) {
  auto there = inherited.take(address);
  if (!there.empty()) return std::move(there.front());
  return metrics::open_listener(address);
}

std::size_t workers_of(const config::Config& config) {
  return cpus_for(static_cast<unsigned>(config.proxy.workers)).size();
}

Result<void> require_descriptors(const config::Config& config, std::uint64_t descriptors) {
  const std::size_t workers = workers_of(config);
  const std::uint64_t needed = descriptors_to_start(workers, config.listeners.size());
  if (descriptors >= needed) return {};
  return fail(
      fmt::format("RLIMIT_NOFILE is {}: a server with {} workers and {} listeners needs {} to "
                  "start, and two for each connection; raise it (systemd: LimitNOFILE=)",
                  descriptors, workers, config.listeners.size(), needed));
}

std::uint64_t connections_that_fit(const config::Config& config, std::uint64_t descriptors) {
  return connections_that_fit(descriptors,
                              descriptors_at_rest(workers_of(config), config.listeners.size()));
}

proxy::DataPlaneOptions plane_options(const config::Config& config, std::uint64_t connections) {
  proxy::DataPlaneOptions options;
  for (const config::Listener& listener : config.listeners) {
    options.settings.listener_names.push_back(listener.name);
    options.settings.listeners.push_back(listener.settings);
    options.addresses.push_back(listener.addr);
  }
  options.settings.splice = config.proxy.splice == config::Splice::kRing
                                ? proxy::SpliceMode::kRing
                                : proxy::SpliceMode::kInline;
  options.settings.connect_timeout = config.proxy.connect_timeout;
  options.settings.sources = config.proxy.sources;
  options.settings.connections_max = connections;
  options.cpus = cpus_for(static_cast<unsigned>(config.proxy.workers));
  options.pin_workers = config.proxy.pin_workers;
  return options;
}

}  // namespace mc::server
