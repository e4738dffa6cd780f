// SPDX-License-Identifier: Apache-2.0
#include "policy/host_pattern.hpp"

#include <utility>

namespace mc::policy {
namespace {

constexpr std::string_view kFallbackText = "*";
constexpr std::string_view kWildcardPrefix = "*.";

}  // namespace

std::expected<HostPattern, tls::HostNameError> HostPattern::parse(std::string_view text) {
  if (text == kFallbackText) return HostPattern(PatternKind::kFallback, std::string(text));
  const bool is_wildcard = text.starts_with(kWildcardPrefix);
  if (is_wildcard) text.remove_prefix(kWildcardPrefix.size());
  const auto name = tls::HostName::from(text);
  if (!name.has_value()) return std::unexpected(name.error());
  const PatternKind kind = is_wildcard ? PatternKind::kWildcard : PatternKind::kExact;
  return HostPattern(kind, to_text(kind, name->view()));
}

std::string HostPattern::to_text(PatternKind kind, std::string_view host) {
  switch (kind) {
    case PatternKind::kExact:
      return std::string(host);
    case PatternKind::kWildcard:
      return std::string(kWildcardPrefix).append(host);
    case PatternKind::kFallback:
      return std::string(kFallbackText);
  }
  std::unreachable();
}

std::string_view HostPattern::host() const {
  const std::string_view text = text_;
  switch (kind_) {
    case PatternKind::kExact:
      return text;
    case PatternKind::kWildcard:
      return text.substr(kWildcardPrefix.size());
    case PatternKind::kFallback:
      return {};
  }
  std::unreachable();
}

bool HostPattern::matches(std::string_view name) const {
  switch (kind_) {
    case PatternKind::kExact:
      return name == host();
    case PatternKind::kWildcard: {
      const std::string_view below = std::string_view(text_).substr(1);  // ".example.com"
      return name.size() > below.size() && name.ends_with(below);
    }
    case PatternKind::kFallback:
      return !name.empty();
  }
  std::unreachable();
}

}  // namespace mc::policy
