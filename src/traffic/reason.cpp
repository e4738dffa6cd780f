// SPDX-License-Identifier: Apache-2.0
#include "traffic/reason.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.hpp"

namespace mc::traffic {

namespace {

// In the order of the enumeration.
constexpr std::array<ReasonInfo, kReasons> kReasonTable{{
    {Reason::kNone, "none"},
    {Reason::kCompleted, "completed", Close::kInOrder, Outcome::kClosed},
    {Reason::kClientReset, "client_reset", Close::kReset, Outcome::kClosed},
    {Reason::kBackendReset, "backend_reset", Close::kReset, Outcome::kClosed},
    {Reason::kIdleTimeout, "idle_timeout", Close::kReset, Outcome::kClosed},
    {Reason::kHelloTimeout, "hello_timeout", Close::kReset, Outcome::kClosed},
    {Reason::kProxyTimeout, "proxy_timeout", Close::kReset, Outcome::kClosed},
    {Reason::kProxyLocal, "proxy_local", Close::kInOrder, Outcome::kClosed},
    {Reason::kClientClosed, "client_closed", Close::kInOrder, Outcome::kClosed},
    {Reason::kNotTls, "not_tls"},
    {Reason::kSslV2, "sslv2"},
    {Reason::kMalformedRecord, "malformed_record"},
    {Reason::kMalformedHandshake, "malformed_handshake"},
    {Reason::kMalformedExtension, "malformed_extension"},
    {Reason::kNameInvalid, "name_invalid"},
    {Reason::kHelloTooLarge, "hello_too_large"},
    {Reason::kNoSni, "no_sni"},
    {Reason::kNoRoute, "no_route"},
    {Reason::kProxyHeader, "proxy_header"},
    {Reason::kStarttls, "starttls"},
    {Reason::kBadRequest, "bad_request"},
    {Reason::kRedirected, "redirected", Close::kInOrder, Outcome::kClosed},
    {Reason::kBlockedIp, "blocked_ip"},
    {Reason::kBlockedCidr, "blocked_cidr"},
    {Reason::kBlockedCountry, "blocked_country"},
    {Reason::kConnectionLimit, "connection_limit"},
    {Reason::kDialRefused, "dial_refused", Close::kReset, Outcome::kDialFailed},
    {Reason::kDialTimeout, "dial_timeout", Close::kReset, Outcome::kDialFailed},
    {Reason::kDialFailed, "dial_failed", Close::kReset, Outcome::kDialFailed},
    {Reason::kNoBackend, "no_backend", Close::kReset, Outcome::kDialFailed},
    {Reason::kBackendUnresolved, "backend_unresolved", Close::kReset, Outcome::kDialFailed},
    {Reason::kBackendFull, "backend_full", Close::kReset, Outcome::kDialFailed},
    {Reason::kNoResources, "no_resources", Close::kReset, Outcome::kDialFailed},
    {Reason::kFirewallCut, "firewall_cut", Close::kReset, Outcome::kClosed},
    {Reason::kBackendDown, "backend_down", Close::kReset, Outcome::kClosed},
    {Reason::kClosedByOperator, "closed_by_operator", Close::kReset, Outcome::kClosed},
    {Reason::kShutdown, "shutdown", Close::kReset, Outcome::kClosed},
}};

constexpr bool is_in_order() {
  for (std::size_t i = 0; i < kReasons; ++i) {
    if (kReasonTable[i].reason != static_cast<Reason>(i)) return false;
  }
  return true;
}
static_assert(is_in_order());

}  // namespace

const ReasonInfo& info(Reason reason) { return kReasonTable[static_cast<std::size_t>(reason)]; }

std::optional<Reason> reason_named(std::string_view name) {
  const auto* const found = std::ranges::find(kReasonTable, name, &ReasonInfo::name);
  if (found == kReasonTable.end()) return std::nullopt;
  return found->reason;
}

Outcome outcome_of(Reason reason, bool has_way) {
  return has_way ? info(reason).outcome : Outcome::kRefused;
}

std::string_view line_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kClosed:
      return "connection closed";
    case Outcome::kRefused:
      return "connection refused";
    case Outcome::kDialFailed:
      break;
  }
  return "dial failed";
}

Reason reason_of(tls::Reject reject) {
  switch (reject) {
    case tls::Reject::kNotTls:
      return Reason::kNotTls;
    case tls::Reject::kSslV2:
      return Reason::kSslV2;
    case tls::Reject::kMalformedRecord:
      return Reason::kMalformedRecord;
    case tls::Reject::kMalformedHandshake:
      return Reason::kMalformedHandshake;
    case tls::Reject::kMalformedExtension:
      return Reason::kMalformedExtension;
    case tls::Reject::kNameInvalid:
      return Reason::kNameInvalid;
    case tls::Reject::kTooLarge:
      return Reason::kHelloTooLarge;
    case tls::Reject::kNoSni:
      return Reason::kNoSni;
  }
  return Reason::kNotTls;
}

Reason reason_of(policy::Verdict verdict) {
  switch (verdict) {
    case policy::Verdict::kBlockedIp:
      return Reason::kBlockedIp;
    case policy::Verdict::kBlockedCidr:
      return Reason::kBlockedCidr;
    case policy::Verdict::kBlockedCountry:
      return Reason::kBlockedCountry;
    case policy::Verdict::kAllowed:
      break;
  }
  MC_ASSERT(false, "an allowed client has no reason to end");
}

std::string dial_error_text(int error, const BackendAddress& backend) {
  switch (error) {
    case kDialledItself:
      return "connected to itself: nothing listens there, and the port is one of those that the "
             "kernel gives to outgoing connections";
    case kDialledListener:
      return "the backend is a listener of this proxy";
    case kNoInterface:
      return fmt::format("no interface {}", backend.interface());
    case kNoneEligible:
      return "no backend of the pool is eligible";
    case kTlsDeclined:
      return "the backend declined TLS: its reply to PostgreSQL's SSLRequest was not \"S\"";
    case kNoPool:
      return "there is no such pool; add it: mc-proxy pools add";
    case kUnresolved:
      return "no name of the pool's backends has an address yet";
    case kAllFull:
      return "every eligible backend of the pool is at its max_connections";
    default:
      return std::strerror(error);
  }
}

}  // namespace mc::traffic
