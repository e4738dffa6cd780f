// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which host names a route takes: one name, all names below a host, or all names. The only place
// that knows how such a pattern is written.

#include <compare>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "tls/host_name.hpp"

namespace mc::policy {

/// From the strongest to the weakest: of two patterns that match a name, the first kind is taken.
enum class PatternKind : std::uint8_t {
  kExact,     // "app.example.com"
  kWildcard,  // "*.example.com": every name below example.com at any depth, but not that itself
  kFallback,  // "*": every name. A client without a name has no route; its listener may have no_sni
};

/// Valid and in normal form (lower case, no trailing dot). Ordered as its text is. A value; any
/// thread.
class HostPattern {
 public:
  /// Reads and normalises "*", "*." and a host name, or a host name. The error is about the name.
  static std::expected<HostPattern, tls::HostNameError> parse(std::string_view text);
  /// The text of a pattern of this kind for a normalised host, which is empty for kFallback.
  static std::string to_text(PatternKind kind, std::string_view host);

  [[nodiscard]] PatternKind kind() const { return kind_; }
  /// The host without what stands before it; empty for kFallback. Points into the pattern.
  [[nodiscard]] std::string_view host() const;
  /// As parse() reads it.
  [[nodiscard]] const std::string& text() const { return text_; }
  /// Whether it takes this name, which is normalised. None takes the empty name.
  [[nodiscard]] bool matches(std::string_view name) const;

  friend bool operator==(const HostPattern& a, const HostPattern& b) { return a.text_ == b.text_; }
  friend auto operator<=>(const HostPattern& a, const HostPattern& b) {
    return a.text_ <=> b.text_;
  }

 private:
  HostPattern(PatternKind kind, std::string text) : text_(std::move(text)), kind_(kind) {}

  std::string text_;
  PatternKind kind_;
};

}  // namespace mc::policy
