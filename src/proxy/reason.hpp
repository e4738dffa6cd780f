// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why a connection ended: the closed list that the log line, the counters and the metrics share.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/backend_address.hpp"
#include "policy/firewall.hpp"
#include "tls/client_hello.hpp"

namespace mc::proxy {

enum class Reason : std::uint8_t {
  kNone,          // not ended: the session goes on to its next stage
  kCompleted,     // both sides sent their end of stream
  kClientReset,   // the client reset or lost the connection
  kBackendReset,  // the backend reset or lost the connection
  kIdleTimeout,   // no byte moved in either direction for idle_timeout
  kHelloTimeout,  // no complete ClientHello within hello_timeout
  kClientClosed,  // the client closed before its ClientHello was complete
  kNotTls,        // the rejects of tls::Reject, by name
  kSslV2,
  kMalformedRecord,
  kMalformedHandshake,
  kMalformedExtension,
  kNameInvalid,
  kHelloTooLarge,
  kNoSni,
  kNoRoute,    // no route of the listener covers the name
  kBlockedIp,  // the firewall, by kind of rule
  kBlockedCidr,
  kBlockedCountry,
  kConnectionLimit,  // max_connections was reached
  kDialRefused,      // the backend refused the connection
  kDialTimeout,      // the backend did not answer within connect_timeout
  kDialFailed,   // the connection to the backend failed otherwise (no route to host, no port left…)
  kNoResources,  // this process ran out of descriptors or memory for the backend's socket
  kFirewallCut,  // cut, because the firewall has come to block the client
  kClosedByOperator,  // reset by an operator's order (CloseConnections)
  kShutdown,          // cut when shutdown_timeout had passed, or by a second signal
};

inline constexpr std::size_t kReasons = static_cast<std::size_t>(Reason::kShutdown) + 1;

/// Why a backend was not reached, where it is not an errno.
inline constexpr int kDialledItself = -1;    // the kernel connected the socket to itself
inline constexpr int kDialledListener = -2;  // the backend is a listener of this process
inline constexpr int kNoInterface = -3;      // the backend's network interface is not there

/// An errno or one of the above, in words.
std::string dial_error_text(int error, const BackendAddress& backend);

/// The name in logs, counters and metrics: "completed", "client_reset", …
std::string_view to_string(Reason reason);

Reason reason_of(tls::Reject reject);
/// Only for a verdict that blocks.
Reason reason_of(policy::Verdict verdict);

/// Whether both sockets are closed in order (FIN); every other end is a reset, so that neither side
/// can take a connection that was cut for one that is complete.
constexpr bool closes_in_order(Reason reason) {
  return reason == Reason::kCompleted || reason == Reason::kClientClosed;
}

/// Whether the end belongs to the dial stage, which operators find by the word "dial".
constexpr bool is_dial_failure(Reason reason) {
  return reason == Reason::kDialRefused || reason == Reason::kDialTimeout ||
         reason == Reason::kDialFailed || reason == Reason::kNoResources;
}

}  // namespace mc::proxy
