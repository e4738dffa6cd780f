// SPDX-License-Identifier: Apache-2.0
#pragma once
// DNS host names in one normal form, so that the name a client sends and the name an operator typed
// are equal exactly when they mean the same host. Used by the hello parser, the configuration and
// the route table. Does not know wildcards: "*.example.com" belongs to the route table; the text
// after "*." is a HostName.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

namespace mc::tls {

/// The rule that a text breaks when it is not a host name.
enum class HostNameError : std::uint8_t {
  kEmpty,
  kTooLong,
  kEmptyLabel,
  kLabelTooLong,
  kBadCharacter,
  kIpAddress,
};

/// The rule as a clause that ends a message: `"a..b" is not a host name: a label is empty`.
[[nodiscard]] std::string_view to_string(HostNameError error);

/// A valid host name in lower case without a trailing dot, held inline. There is no empty or
/// invalid HostName. A value; any thread.
class HostName {
 public:
  /// 255 octets on the wire (RFC 1035 section 2.3.4) are 253 characters: the first length octet and
  /// the root label have no character of their own.
  static constexpr std::size_t kSizeMax = 253;
  static constexpr std::size_t kLabelSizeMax = 63;

  /// Normalises and checks: ASCII letters become lower case, one trailing dot is dropped; then 1 to
  /// 253 characters in labels of 1 to 63 letters, digits, hyphens and underscores. A hyphen at an
  /// end of a label is accepted: not by RFC 1123 section 2.1, but in use below DNS wildcards. IP
  /// addresses are not host names (RFC 6066 section 3): neither is anything with a colon, nor a
  /// name whose last label is a number, which inet_aton(3) and browsers read as IPv4. A-labels
  /// ("xn--...") are taken as they are; U-labels are not ASCII.
  [[nodiscard]] static std::expected<HostName, HostNameError> from(std::string_view text);

  [[nodiscard]] std::string_view view() const { return {text_.data(), size_}; }

  friend bool operator==(const HostName& a, const HostName& b) { return a.view() == b.view(); }
  friend auto operator<=>(const HostName& a, const HostName& b) { return a.view() <=> b.view(); }

 private:
  HostName() = default;

  std::array<char, kSizeMax> text_{};
  std::uint8_t size_ = 0;
};

}  // namespace mc::tls
