// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a listener for plain HTTP does with a request: names that have a route are redirected to
// HTTPS, challenges of a certificate authority go to the pool that is configured for them. Takes
// nothing of the request into a response that is not checked. Pure; any thread.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

#include "http/request_head.hpp"
#include "tls/host_name.hpp"

namespace mc::http {

/// An HTTP-01 challenge (RFC 8555 section 8.3) for any name, as a name without a route may be about
/// to get its certificate.
struct Challenge {
  tls::HostName host;
};

/// To be returned with status kPermanentRedirect, as the Location: an absolute URI of https, in
/// characters of RFC 3986.
struct Redirect {
  std::string location;
};

/// No name, an IP address, or a name without a route: to be returned as status kNotFound.
struct NotFound {};

using RedirectDecision = std::variant<Challenge, Redirect, NotFound, Malformed>;

/// What a decision depends on, besides the request.
struct RedirectRules {
  /// Where clients reach the TLS listener; in the Location unless it is 443.
  std::uint16_t tls_port = 443;
  /// Whether challenges have a pool; else they are redirected like other requests, which a
  /// certificate authority follows.
  bool takes_challenges = false;
  /// Whether TLS clients that ask for this name have a route.
  std::function<bool(const tls::HostName&)> has_route;
};

/// Decides on a request of any method.
[[nodiscard]] RedirectDecision decide_redirect(const RequestHead& head, const RedirectRules& rules);

}  // namespace mc::http
