// SPDX-License-Identifier: Apache-2.0
#include "net/ip.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>

#include "base/quote.hpp"

namespace mc {
namespace {

/// The text as inet_pton(3) reads it, or nothing. It is as strict as we want: no leading zeros, no
/// short forms ("127.1"), no zone.
std::optional<IpAddress> parse_plain(std::string_view text) {
  // inet_pton reads a C string: a text with a NUL inside would be read only up to it.
  char buffer[INET6_ADDRSTRLEN] = {};
  if (text.size() >= sizeof(buffer) || text.contains('\0')) return std::nullopt;
  std::ranges::copy(text, buffer);

  if (in_addr v4{}; inet_pton(AF_INET, buffer, &v4) == 1) return IpAddress::v4(ntohl(v4.s_addr));
  IpAddress::Bytes v6{};
  if (inet_pton(AF_INET6, buffer, v6.data()) == 1) return IpAddress(v6);
  return std::nullopt;
}

/// The length after the slash: 1 to 3 digits without leading zeros, or nothing.
std::optional<int> parse_length(std::string_view text) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return static_cast<int>(value);
}

/// The address with all but the first `length` of its 128 bits cleared.
IpAddress masked(const IpAddress& address, int length) {
  IpAddress::Bytes bytes = address.bytes();
  for (int i = 0; i < 16; ++i) {
    const int kept_bits = std::clamp(length - 8 * i, 0, 8);
    bytes[static_cast<std::size_t>(i)] &= static_cast<std::uint8_t>(0xff00U >> kept_bits);
  }
  return IpAddress(bytes);
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  if (const auto address = parse_plain(text)) return *address;
  if (const auto slash = text.find('/'); slash != text.npos && parse_plain(text.substr(0, slash))) {
    return fail(fmt::format("{}: this is a block, but one IP address is wanted; write {}",
                            quote(text), quote(text.substr(0, slash))));
  }
  if (text.starts_with('[') && text.ends_with(']') &&
      parse_plain(text.substr(1, text.size() - 2))) {
    return fail(fmt::format("{}: an address without a port takes no brackets; write {}",
                            quote(text), quote(text.substr(1, text.size() - 2))));
  }
  return fail(fmt::format("{}: not an IP address; write one like \"192.0.2.1\" or \"2001:db8::1\"",
                          quote(text)));
}

std::string IpAddress::to_string() const {
  char buffer[INET6_ADDRSTRLEN];
  if (is_v4()) {
    const in_addr v4{.s_addr = htonl(v4_value())};
    return inet_ntop(AF_INET, &v4, buffer, sizeof(buffer));
  }
  return inet_ntop(AF_INET6, bytes_.data(), buffer, sizeof(buffer));
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = parse_plain(text.substr(0, slash));
  if (!address) {
    return fail(
        fmt::format("{}: not a CIDR block; write one like \"198.51.100.0/24\" or \"2001:db8::/32\"",
                    quote(text)));
  }
  if (slash == text.npos) {
    return fail(
        fmt::format("{}: this is one address, but a CIDR block is wanted; write \"{}/{}\", or "
                    "block it as an IP",
                    quote(text), text, address->is_v4() ? 32 : 128));
  }

  // "::ffff:10.0.0.0/104" counts in the common space, "10.0.0.0/8" in that of IPv4.
  const bool is_dotted_quad = !text.substr(0, slash).contains(':');
  const int length_max = is_dotted_quad ? 32 : 128;
  const auto length = parse_length(text.substr(slash + 1));
  if (!length || *length > length_max) {
    return fail(fmt::format("{}: the length after the slash must be a number from 0 to {}",
                            quote(text), length_max));
  }
  const int common_length = is_dotted_quad ? 96 + *length : *length;
  const IpAddress network = masked(*address, common_length);
  const IpPrefix prefix(network, network.is_v4() ? common_length - 96 : common_length);
  if (network != *address) {
    return fail(fmt::format("{}: bits beyond the first {} are set; the block is {}", quote(text),
                            *length, quote(prefix.to_string())));
  }
  return prefix;
}

Result<IpPrefix> IpPrefix::parse_block_or_address(std::string_view text) {
  if (text.contains('/')) return parse(text);
  const auto address = IpAddress::parse(text);
  if (!address.has_value()) return std::unexpected(address.error());
  return only(*address);
}

IpPrefix IpPrefix::around(const IpAddress& address, int length) {
  return {masked(address, address.is_v4() ? 96 + length : length), length};
}

bool IpPrefix::contains(const IpAddress& address) const {
  // IPv4 addresses are held in a corner of IPv6: without this, ::/0 would hold them all.
  if (address.is_v4() != network_.is_v4()) return false;
  return masked(address, mapped_length()) == network_;
}

std::string IpPrefix::to_string() const {
  return fmt::format("{}/{}", network_.to_string(), length_);
}

}  // namespace mc
