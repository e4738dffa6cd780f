// SPDX-License-Identifier: Apache-2.0
#pragma once
// IP addresses and prefixes as plain values. One space for both families: an IPv4 address is held
// as its IPv4-mapped IPv6 form (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2), so that a client that
// arrives over a dual-stack socket and one that arrives over IPv4 are the same address to every
// rule.

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace mc {

/// An IPv4 or IPv6 address, in network byte order. A value; any thread.
class IpAddress {
 public:
  using Bytes = std::array<std::uint8_t, 16>;

  constexpr IpAddress() = default;
  /// `bytes` in network order; an IPv4-mapped value is IPv4.
  constexpr explicit IpAddress(const Bytes& bytes) : bytes_(bytes) {}
  /// The IPv4 address with this value in host byte order (127.0.0.1 is 0x7f000001).
  static constexpr IpAddress v4(std::uint32_t host_order);

  /// Reads "192.0.2.1", "2001:db8::1" or "::ffff:192.0.2.1" (which is 192.0.2.1). Errors name the
  /// text.
  static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] constexpr bool is_v4() const;
  /// fe80::/10, of which each interface has its own (RFC 4291 section 2.5.6).
  [[nodiscard]] constexpr bool is_link_local() const {
    return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
  }
  /// 0.0.0.0 or ::, which stand for every address of the machine.
  [[nodiscard]] constexpr bool is_unspecified() const;
  /// 127.0.0.0/8 or ::1.
  [[nodiscard]] constexpr bool is_loopback() const;
  /// A group, or the limited broadcast address 255.255.255.255.
  [[nodiscard]] constexpr bool is_multicast() const;
  /// Whether it names one host without an interface: it is neither unspecified, nor a group's, nor
  /// link-local.
  [[nodiscard]] constexpr bool names_host() const;
  [[nodiscard]] constexpr const Bytes& bytes() const { return bytes_; }
  /// The IPv4 address in host byte order; only where is_v4().
  [[nodiscard]] constexpr std::uint32_t v4_value() const;

  /// The usual text: dotted quad for IPv4, RFC 5952 for IPv6.
  [[nodiscard]] std::string to_string() const;

  constexpr auto operator<=>(const IpAddress&) const = default;

 private:
  Bytes bytes_{};
};

/// An address block. Its length counts bits in the family's own space: 0..32 for IPv4, 0..128 for
/// IPv6. A block holds addresses of its own family only: ::/0 is all of IPv6 and no IPv4.
class IpPrefix {
 public:
  constexpr IpPrefix() = default;

  /// Reads "198.51.100.0/24" or "2001:db8::/32". Host bits must be zero: the error names the block
  /// that was probably meant. A bare address is an error too (a rule for one address is of another
  /// type). A block of IPv4-mapped addresses is IPv4: "::ffff:10.0.0.0/104" is 10.0.0.0/8.
  static Result<IpPrefix> parse(std::string_view text);
  /// Reads a block, or an address as the block that holds it alone.
  static Result<IpPrefix> parse_block_or_address(std::string_view text);
  /// The block of this length, in the family's own space, that the address is in.
  static IpPrefix around(const IpAddress& address, int length);
  /// The block that holds this address alone.
  static IpPrefix only(const IpAddress& address) { return {address, address.is_v4() ? 32 : 128}; }

  [[nodiscard]] constexpr const IpAddress& network() const { return network_; }
  [[nodiscard]] constexpr int length() const { return length_; }
  /// The length in the common 128-bit space: an IPv4 /24 is 120.
  [[nodiscard]] constexpr int mapped_length() const {
    return network_.is_v4() ? 96 + length_ : length_;
  }
  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] std::string to_string() const;

  constexpr auto operator<=>(const IpPrefix&) const = default;

 private:
  constexpr IpPrefix(const IpAddress& network, int length) : network_(network), length_(length) {}

  IpAddress network_;
  int length_ = 0;
};

constexpr IpAddress IpAddress::v4(std::uint32_t host_order) {
  Bytes bytes{};
  bytes[10] = bytes[11] = 0xff;
  for (int i = 0; i < 4; ++i) bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  return IpAddress(bytes);
}

constexpr bool IpAddress::is_v4() const {
  for (int i = 0; i < 10; ++i) {
    if (bytes_[i] != 0) return false;
  }
  return bytes_[10] == 0xff && bytes_[11] == 0xff;
}

constexpr bool IpAddress::is_unspecified() const { return *this == IpAddress() || *this == v4(0); }

constexpr bool IpAddress::is_loopback() const {
  if (is_v4()) return v4_value() >> 24 == 127;
  constexpr IpAddress kLoopback({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  return *this == kLoopback;
}

constexpr bool IpAddress::is_multicast() const {
  if (!is_v4()) return bytes_[0] == 0xff;
  return v4_value() >> 28 == 0xe || v4_value() == 0xffffffff;
}

constexpr bool IpAddress::names_host() const {
  return !is_unspecified() && !is_multicast() && !is_link_local();
}

constexpr std::uint32_t IpAddress::v4_value() const {
  return std::uint32_t{bytes_[12]} << 24 | std::uint32_t{bytes_[13]} << 16 |
         std::uint32_t{bytes_[14]} << 8 | std::uint32_t{bytes_[15]};
}

}  // namespace mc
