// SPDX-License-Identifier: Apache-2.0
#pragma once
// How one listener treats its clients, besides its routes: as the configuration says, and the same
// while the process lives. A value; any thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/ip.hpp"

namespace mc::policy {

/// From whom a listener takes the PROXY protocol, which names the client of a connection.
struct ProxyHeaderSettings {
  /// The proxies that are believed. At least one.
  std::vector<IpPrefix> from;
  /// Whether a connection of one of them must begin with a header.
  bool is_required = true;
  /// Whether others may connect, as clients themselves; else they are refused.
  bool admits_others = false;
  /// For the whole header; from accept on where one is required.
  std::chrono::milliseconds timeout{5'000};
};

/// A client that says nothing is taken for one whose server speaks first.
struct SilentSettings {
  std::chrono::milliseconds after{0};
  std::string pool;
};

/// The listener speaks HTTP: it sends clients to the same name with https.
struct RedirectSettings {
  /// The listeners whose routes make a name known, by place in the configuration. At least one.
  std::vector<std::size_t> listeners;
  /// The pool for /.well-known/acme-challenge/ (RFC 8555, section 8.3); empty: none.
  std::string challenge_pool;
  /// In the Location; 443 is left out.
  std::uint16_t port = 443;
};

/// What may come before the ClientHello.
enum class Starttls : std::uint8_t {
  kNone,
  kPostgres,  // PostgreSQL's SSLRequest
};

/// How a client is refused whose hello is good, but leads nowhere.
enum class Refusal : std::uint8_t {
  kReset,
  kAlert,  // a TLS alert that says why
};

struct ListenerSettings {
  std::chrono::milliseconds hello_timeout{10'000};
  /// 0: never.
  std::chrono::milliseconds idle_timeout{300'000};
  /// Open connections of this listener, of all workers together. 0: no limit of its own.
  std::uint64_t connections_max = 0;
  std::optional<ProxyHeaderSettings> proxy_header;
  /// The pool of clients whose hello has no server name; empty: they are refused.
  std::string no_sni;
  /// The pool of clients whose first byte does not begin TLS; empty: they are refused.
  std::string not_tls;
  std::optional<SilentSettings> silent;
  Refusal refusal = Refusal::kReset;
  Starttls starttls = Starttls::kNone;
  /// If it is set, the listener has no routes and takes no TLS.
  std::optional<RedirectSettings> redirect;
};

}  // namespace mc::policy
