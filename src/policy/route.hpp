// SPDX-License-Identifier: Apache-2.0
#pragma once
// One route: which host names go to which backend. The rooms above build these; RouteTable finds
// them.

#include <string>
#include <string_view>

#include "base/socket_address.hpp"

namespace mc::policy {

/// What a pattern that covers every name below a host starts with: "*.example.com".
inline constexpr std::string_view kWildcardPrefix = "*.";
/// The pattern that every name matches, and a client that sent none.
inline constexpr std::string_view kFallbackPattern = "*";

/// A value; any thread.
struct Route {
  /// "app.example.com", "*.example.com" or "*", the host normalised: lower case, no trailing dot.
  std::string pattern;
  SocketAddress backend;

  /// The pattern without "*.". Points into the route.
  [[nodiscard]] std::string_view host() const {
    const std::string_view text = pattern;
    return text.substr(is_wildcard() ? kWildcardPrefix.size() : 0);
  }
  [[nodiscard]] bool is_wildcard() const { return pattern.starts_with(kWildcardPrefix); }
  [[nodiscard]] bool is_fallback() const { return pattern == kFallbackPattern; }

  bool operator==(const Route&) const = default;
};

}  // namespace mc::policy
