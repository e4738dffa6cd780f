// SPDX-License-Identifier: Apache-2.0
#pragma once
// One route: which host names go to which backend. The rooms above build these; RouteTable finds
// them.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/backend_address.hpp"

namespace mc::policy {

/// What a pattern that covers every name below a host starts with: "*.example.com".
inline constexpr std::string_view kWildcardPrefix = "*.";
/// The pattern that every name matches. A client that names no host has no route at all.
inline constexpr std::string_view kFallbackPattern = "*";

/// What became of the connections of one route, since the route was made or the process started:
/// nothing of it is stored. Any thread; written by all workers, a few times in a connection's life
/// and never for a byte, so the memory order is relaxed.
struct RouteUsage {
  std::atomic<std::uint64_t> connections{0};    // sessions that the route was chosen for
  std::atomic<std::uint64_t> active{0};         // gauge: those of them that are open now
  std::atomic<std::uint64_t> dial_failures{0};  // those of them that got no backend
  std::atomic<std::uint64_t> bytes_up{0};       // client to backend, of sessions that ended
  std::atomic<std::uint64_t> bytes_down{0};     // backend to client, likewise
};

/// A value; any thread.
struct Route {
  /// "app.example.com", "*.example.com" or "*", the host normalised: lower case, no trailing dot.
  std::string pattern;
  BackendAddress backend;
  /// Shared by all copies of the route, in whatever tables: they are the same route. One that takes
  /// its place begins at zero, unless it is given this.
  std::shared_ptr<RouteUsage> usage = std::make_shared<RouteUsage>();

  /// The pattern without "*.". Points into the route.
  [[nodiscard]] std::string_view host() const {
    const std::string_view text = pattern;
    return text.substr(is_wildcard() ? kWildcardPrefix.size() : 0);
  }
  [[nodiscard]] bool is_wildcard() const { return pattern.starts_with(kWildcardPrefix); }
  [[nodiscard]] bool is_fallback() const { return pattern == kFallbackPattern; }

  /// Whether they send the same names to the same place, however many came so far.
  bool operator==(const Route& other) const {
    return pattern == other.pattern && backend == other.backend;
  }
};

}  // namespace mc::policy
