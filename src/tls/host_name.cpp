// SPDX-License-Identifier: Apache-2.0
#include "tls/host_name.hpp"

#include <algorithm>
#include <optional>

#include "base/ascii.hpp"

namespace mc::tls {
namespace {

// The underscore is no letter, digit or hyphen, but DNS allows it (RFC 2181 section 11), names with
// it resolve and are in use, and browsers send them as SNI: refusing it would only cut hosts off.
bool is_host_character(char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; }

std::optional<HostNameError> check_label(std::string_view label) {
  if (label.empty()) return HostNameError::kEmptyLabel;
  if (label.size() > HostName::kLabelSizeMax) return HostNameError::kLabelTooLong;
  if (!std::ranges::all_of(label, is_host_character)) return HostNameError::kBadCharacter;
  return std::nullopt;
}

}  // namespace

std::string_view to_string(HostNameError error) {
  switch (error) {
    case HostNameError::kEmpty:
      return "it is empty";
    case HostNameError::kTooLong:
      return "it is longer than 253 characters";
    case HostNameError::kEmptyLabel:
      return "a label is empty";
    case HostNameError::kLabelTooLong:
      return "a label is longer than 63 characters";
    case HostNameError::kBadCharacter:
      return "only ASCII letters, digits, hyphens, underscores and dots are allowed";
    case HostNameError::kIpAddress:
      return "its last label is a number, as in an IP address";
  }
  return "unknown";
}

std::expected<HostName, HostNameError> HostName::from(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty()) return std::unexpected(HostNameError::kEmpty);
  if (text.size() > kSizeMax) return std::unexpected(HostNameError::kTooLong);

  std::string_view label;
  for (std::size_t begin = 0; begin <= text.size(); begin += label.size() + 1) {
    label = text.substr(begin, text.find('.', begin) - begin);
    if (const auto error = check_label(label)) return std::unexpected(*error);
  }
  if (std::ranges::all_of(label, is_digit)) return std::unexpected(HostNameError::kIpAddress);

  HostName name;
  std::ranges::transform(text, name.text_.begin(), to_lower);
  name.size_ = static_cast<std::uint8_t>(text.size());
  return name;
}

}  // namespace mc::tls
