// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why a connection ended: the closed list that the log line, the counters and the metrics share,
// and what follows from each reason.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/backend_address.hpp"
#include "policy/firewall.hpp"
#include "tls/client_hello.hpp"

namespace mc::traffic {

enum class Reason : std::uint8_t {
  kNone,          // not ended: the session goes on to its next stage
  kCompleted,     // both sides sent their end of stream
  kClientReset,   // the client reset or lost the connection
  kBackendReset,  // the backend reset or lost the connection
  kIdleTimeout,   // no byte moved in either direction for idle_timeout
  kHelloTimeout,  // no complete ClientHello within hello_timeout
  kProxyTimeout,  // no complete PROXY header within its timeout
  kProxyLocal,    // a proxy in front of this one has checked it
  kClientClosed,  // the client closed before its ClientHello was complete
  kNotTls,        // the rejects of tls::Reject, by name
  kSslV2,
  kMalformedRecord,
  kMalformedHandshake,
  kMalformedExtension,
  kNameInvalid,
  kHelloTooLarge,
  kNoSni,
  kNoRoute,      // no route of the listener covers the name
  kProxyHeader,  // the PROXY header is wrong or missing, or the peer may not send one
  kStarttls,     // bytes follow PostgreSQL's SSLRequest before its reply
  kBadRequest,   // no HTTP request that a redirect could answer
  kRedirected,   // to https
  kBlockedIp,    // the firewall, by kind of rule
  kBlockedCidr,
  kBlockedCountry,
  kConnectionLimit,  // max_connections was reached
  kDialRefused,      // the backend refused the connection
  kDialTimeout,      // no reply from the backend within connect_timeout
  kDialFailed,  // the connection to the backend failed otherwise (no route to host, no port left…)
  kNoBackend,   // no backend of the pool is eligible
  kBackendUnresolved,  // no name of the pool's backends has an address yet
  kBackendFull,        // those that are, are at their max_connections
  kNoResources,        // this process ran out of descriptors or memory for the backend's socket
  kFirewallCut,        // cut, because the firewall now blocks the client
  kBackendDown,        // cut, because checks took its backend down, and its pool says so
  kClosedByOperator,   // reset by an operator's order (CloseConnections)
  kShutdown,           // cut when shutdown_timeout had passed, or by a second signal
};

inline constexpr std::size_t kReasons = static_cast<std::size_t>(Reason::kShutdown) + 1;

/// How both sockets of a connection are closed.
enum class Close : std::uint8_t {
  kReset,  // RST, so that neither side can take a connection that was cut for one that is complete
  kInOrder,  // FIN
};

/// The classes of ends, separate in logs, events and metrics.
enum class Outcome : std::uint8_t {
  kClosed,      // one of its sides, a timeout or an order has ended it
  kRefused,     // the proxy does not serve it
  kDialFailed,  // its backend could not be reached
};

/// What follows from a reason.
struct ReasonInfo {
  Reason reason;
  /// The name in logs, counters and metrics: "completed", "client_reset", …
  std::string_view name;
  Close close = Close::kReset;
  /// Of a connection that has a way to go. In the log and events one without is refused, for any
  /// reason (outcome_of()).
  Outcome outcome = Outcome::kRefused;
};

const ReasonInfo& info(Reason reason);
inline std::string_view to_string(Reason reason) { return info(reason).name; }
/// The reason with this name.
std::optional<Reason> reason_named(std::string_view name);

Outcome outcome_of(Reason reason, bool has_way);
/// The message of the log line for a connection that ends like this.
std::string_view line_of(Outcome outcome);

Reason reason_of(tls::Reject reject);
/// Only for a verdict that blocks.
Reason reason_of(policy::Verdict verdict);

/// Why a backend was not reached, where it is not an errno.
inline constexpr int kDialledItself = -1;    // the kernel connected the socket to itself
inline constexpr int kDialledListener = -2;  // the backend is a listener of this process
inline constexpr int kNoInterface = -3;      // the backend's network interface is not there
inline constexpr int kNoneEligible = -4;     // no backend of the pool is eligible
inline constexpr int kAllFull = -5;          // those that are, are at their max_connections
inline constexpr int kTlsDeclined = -6;      // the backend declined PostgreSQL's SSLRequest
inline constexpr int kNoPool = -8;           // there is no pool of that name
inline constexpr int kUnresolved = -7;       // no name of the pool's backends has an address

/// An errno or one of the above, in words.
std::string dial_error_text(int error, const BackendAddress& backend);

}  // namespace mc::traffic
