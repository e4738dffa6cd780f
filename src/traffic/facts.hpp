// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is known of one connection, from accept to its end: the source of logs, events, listings and
// filters. Only its worker's thread writes and reads it; other threads get a Connection, a copy.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "net/backend_address.hpp"
#include "net/socket_address.hpp"
#include "policy/live_pool.hpp"
#include "policy/live_route.hpp"
#include "traffic/connection.hpp"

namespace mc::traffic {

/// What is known besides of a connection whose route leads to a pool.
struct PoolFacts {
  std::shared_ptr<policy::BackendState> backend;  // that was chosen last; null: none was
  std::unique_ptr<const std::string> name;        // of the pool; null from the first choice on
  std::uint8_t tries = 0;                         // backends that were dialled
};

/// What is known besides of few connections.
struct RareFacts {
  /// Who the client is and where it connected to, by the PROXY header; unspecified: there was none,
  /// or it names nobody.
  SocketAddress client;
  SocketAddress destination;
  bool is_local = false;       // the header says that the proxy itself checks (LOCAL)
  bool asked_for_tls = false;  // with PostgreSQL's SSLRequest
  std::string_view complaint;  // about what came before the hello; a literal, maybe empty
  /// A Unix socket, or a backend whose interface does not exist.
  std::optional<BackendAddress> backend;
};

/// What has decided where a connection goes.
enum class Way : std::uint8_t {
  kUndecided,
  kRoute,  // of its listener, by name
  // Ways of its listener:
  kNoSni,      // the hello has no name
  kNotTls,     // no hello came
  kSilent,     // nothing came
  kChallenge,  // of an ACME server, to a listener that redirects
  kRedirect,   // nowhere: it was redirected
};

/// Compact: every open connection has one.
struct ConnectionFacts {
  std::uint64_t number = 0;  // of the worker's connections
  Instant accepted_at;
  Instant moved_at;  // when a byte was moved last, or the stage before relay began
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::string name;  // sent by the client, normalised
  // Of its route, which may go before it does; null: it goes another way.
  std::shared_ptr<policy::ConnectionCounts> route_counts;
  std::unique_ptr<PoolFacts> pooled;  // null: the route has a backend itself
  SocketAddress peer;                 // the other end of the client's socket
  SocketAddress backend_address;      // to connect to
  std::unique_ptr<RareFacts> rare;    // null: none
  std::uint16_t worker = 0;           // at most kWorkersMax
  std::uint16_t listener = 0;         // its place in the configuration, at most kListenersMax
  int dial_error = 0;                 // see dial_error_text()
  std::uint8_t suffix_at = 0;         // where in `name` the host of its route's pattern begins
  policy::PatternKind route_kind{};
  Way way = Way::kUndecided;
  Stage stage = Stage::kHello;
  bool ech_offered = false;
  bool has_spoken = false;  // the client has sent a byte

  [[nodiscard]] ConnectionId id() const { return {.worker = worker, .number = number}; }
  /// Who the client is, for the firewall, logs and operators: the peer, unless a proxy in front of
  /// this one names another.
  [[nodiscard]] const SocketAddress& client() const { return is_conveyed() ? rare->client : peer; }
  /// Whether a proxy in front of this one, which is then the peer, names the client.
  [[nodiscard]] bool is_conveyed() const {
    return rare != nullptr && rare->client.family() != AF_UNSPEC;
  }
  /// Whether it is decided where it goes: by a route, or by another way.
  [[nodiscard]] bool has_way() const { return way != Way::kUndecided; }
  /// The pattern that matched, or the name of another way; empty while that is undecided.
  [[nodiscard]] std::string route() const;
  /// The pool of its route; empty: it has a backend and no pool.
  [[nodiscard]] std::string_view pool() const;
  /// As it is configured; nothing: there is none yet.
  [[nodiscard]] std::optional<BackendAddress> backend() const;

  /// Takes the route that `name` has matched, and its backend or the name of its pool.
  void take_route(const policy::LiveRoute& route);
  /// Goes another way, to this pool.
  void take_way(Way other, std::string pool);
  /// Takes the backend that was chosen from the route's pool.
  void take_backend(std::shared_ptr<policy::BackendState> state);
  /// Made on the first call.
  RareFacts& more() {
    if (rare == nullptr) rare = std::make_unique<RareFacts>();
    return *rare;
  }

 private:
  void take_pool(std::string pool);
  void resolve(const BackendAddress& backend);
};

/// The facts as operators see them.
Connection describe(const ConnectionFacts& facts, Instant now);

/// Whether the filter means this connection.
bool matches(const ConnectionFilter& filter, const ConnectionFacts& facts);

}  // namespace mc::traffic
