// SPDX-License-Identifier: Apache-2.0
#include "proxy/reason.hpp"

#include <fmt/format.h>

#include <cstring>

#include "base/assert.hpp"

namespace mc::proxy {

std::string dial_error_text(int error, const BackendAddress& backend) {
  switch (error) {
    case kDialledItself:
      return "connected to itself: nothing listens there, and the port is one of those that the "
             "kernel gives to outgoing connections";
    case kDialledListener:
      return "the backend is a listener of this proxy";
    case kNoInterface:
      return fmt::format("no interface {}", backend.interface());
    default:
      return std::strerror(error);
  }
}

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::kNone:
      return "none";
    case Reason::kCompleted:
      return "completed";
    case Reason::kClientReset:
      return "client_reset";
    case Reason::kBackendReset:
      return "backend_reset";
    case Reason::kIdleTimeout:
      return "idle_timeout";
    case Reason::kHelloTimeout:
      return "hello_timeout";
    case Reason::kClientClosed:
      return "client_closed";
    case Reason::kNotTls:
      return "not_tls";
    case Reason::kSslV2:
      return "sslv2";
    case Reason::kMalformedRecord:
      return "malformed_record";
    case Reason::kMalformedHandshake:
      return "malformed_handshake";
    case Reason::kMalformedExtension:
      return "malformed_extension";
    case Reason::kNameInvalid:
      return "name_invalid";
    case Reason::kHelloTooLarge:
      return "hello_too_large";
    case Reason::kNoSni:
      return "no_sni";
    case Reason::kNoRoute:
      return "no_route";
    case Reason::kBlockedIp:
      return "blocked_ip";
    case Reason::kBlockedCidr:
      return "blocked_cidr";
    case Reason::kBlockedCountry:
      return "blocked_country";
    case Reason::kConnectionLimit:
      return "connection_limit";
    case Reason::kDialRefused:
      return "dial_refused";
    case Reason::kDialTimeout:
      return "dial_timeout";
    case Reason::kDialFailed:
      return "dial_failed";
    case Reason::kNoResources:
      return "no_resources";
    case Reason::kFirewallCut:
      return "firewall_cut";
    case Reason::kClosedByOperator:
      return "closed_by_operator";
    case Reason::kShutdown:
      return "shutdown";
  }
  return "none";
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

}  // namespace mc::proxy
