// SPDX-License-Identifier: Apache-2.0
#pragma once
// An open connection as operators see it, and the filter by which they choose some. Values; any
// thread.

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/backend_address.hpp"
#include "net/ip.hpp"
#include "net/socket_address.hpp"
#include "policy/host_pattern.hpp"

namespace mc::traffic {

/// Names a connection for the life of the process: no other one gets the same id.
struct ConnectionId {
  std::uint32_t worker = 0;
  std::uint64_t number = 0;  // of the worker's connections, from 1; 0: it was refused at once

  /// Reads what to_string() writes.
  static std::optional<ConnectionId> parse(std::string_view text);
  /// "0-17".
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const ConnectionId&) const = default;
};

/// What a connection is doing.
enum class Stage : std::uint8_t {
  kHello,  // waits for the client's hello
  kDial,   // connects to the backend
  kRelay,  // moves bytes
};

struct Connection {
  ConnectionId id;
  std::size_t listener = 0;  // its place in the configuration
  SocketAddress client;
  std::optional<SocketAddress> via;       // the proxy that names the client; nothing: none does
  std::string sni;                        // normalised; empty before the hello
  std::string route;                      // see ConnectionFacts::route()
  std::string pool;                       // of that route; empty: it has a backend itself
  std::optional<BackendAddress> backend;  // of that route, or chosen from its pool
  std::uint32_t tries = 0;                // backends that were dialled
  Stage stage = Stage::kHello;
  std::chrono::milliseconds age{};   // since it was accepted
  std::chrono::milliseconds idle{};  // since a byte was moved, or the stage before relay began
  std::uint64_t bytes_up = 0;        // client to backend, so far
  std::uint64_t bytes_down = 0;      // backend to client, so far
};

/// Selects connections: those that match every field that is set.
struct ConnectionFilter {
  std::optional<ConnectionId> id;
  std::optional<std::size_t> listener;
  /// The name that the client sent.
  std::optional<policy::HostPattern> sni;
  std::optional<IpPrefix> source;
  std::optional<BackendAddress> backend;
  /// The name of the route's pool.
  std::optional<std::string> pool;
};

}  // namespace mc::traffic
