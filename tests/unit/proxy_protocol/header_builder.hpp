// SPDX-License-Identifier: Apache-2.0
#pragma once
// Headers of the PROXY protocol for tests, well-formed or not. Shares no code with the writer and
// the parser. And what a test expects of the parser, for a whole stream and for each part of it.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "proxy_protocol/header.hpp"

namespace mc::proxy_protocol::testing {

using Bytes = std::vector<std::uint8_t>;

Bytes bytes(std::string_view text);
/// Pairs of hexadecimal digits; spaces between pairs are ignored.
Bytes hex(std::string_view digits);
Bytes join(std::initializer_list<Bytes> parts);
Bytes prefix_of(const Bytes& stream, std::size_t size);

/// A header of version 2 whose length counts `body`.
Bytes binary(std::uint8_t command, std::uint8_t family, const Bytes& body);
/// The same with any length.
Bytes binary_of_length(std::uint8_t command, std::uint8_t family, std::size_t length,
                       const Bytes& body);
Bytes tlv(std::uint8_t type, const Bytes& value);

/// A command with the version.
inline constexpr std::uint8_t kLocal = 0x20;
inline constexpr std::uint8_t kProxy = 0x21;

/// 192.0.2.1:51000 to 198.51.100.2:443.
Bytes addresses_v4();
/// [2001:db8::1]:51000 to [2001:db8::2]:443.
Bytes addresses_v6();

/// "192.0.2.1:51000 > 198.51.100.2:443, 28 bytes", "incomplete" or why it is malformed.
std::string describe(const Parsed& parsed);

/// Requires that a stream has this result, and that it depends neither on what follows nor on how
/// the stream arrives: every part of it is incomplete or malformed for the same reason, and waiting
/// for the needed bytes ends with the header's last byte.
void expect(const Bytes& stream, std::string_view result);

}  // namespace mc::proxy_protocol::testing
