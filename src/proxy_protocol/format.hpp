// SPDX-License-Identifier: Apache-2.0
#pragma once
// The numbers of the PROXY protocol that its reader and its writer share. "Section" means a section
// of HAProxy's doc/proxy-protocol.txt, everywhere in this room.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mc::proxy_protocol {

/// Section 2.1: the longest line of version 1, with its CRLF.
inline constexpr std::size_t kLineBytesMax = 107;
inline constexpr std::string_view kLineStart = "PROXY ";

/// Section 2.2: what every header of version 2 begins with.
inline constexpr std::array<std::uint8_t, 12> kSignature = {'\r', '\n', '\r', '\n', 0,   '\r',
                                                            '\n', 'Q',  'U',  'I',  'T', '\n'};
/// The signature, version and command, family and protocol, and the length of what follows.
inline constexpr std::size_t kFixedPartSize = 16;

inline constexpr std::uint8_t kVersion2 = 2;
inline constexpr std::uint8_t kCommandLocal = 0;
inline constexpr std::uint8_t kCommandProxy = 1;

inline constexpr std::uint8_t kFamilyUnspecified = 0x00;
inline constexpr std::uint8_t kFamilyTcp4 = 0x11;
inline constexpr std::uint8_t kFamilyTcp6 = 0x21;
inline constexpr std::uint8_t kFamilyUnix = 0x31;

/// The addresses of a family: two addresses and, except for Unix sockets, two ports.
inline constexpr std::size_t kTcp4Size = 12;
inline constexpr std::size_t kTcp6Size = 36;
inline constexpr std::size_t kUnixSize = 216;

/// A TLV: one byte of type, two of length, the value (section 2.2).
inline constexpr std::size_t kTlvHeadSize = 3;
inline constexpr std::uint8_t kTlvAuthority = 0x02;  // section 2.2.2
inline constexpr std::uint8_t kTlvCrc32c = 0x03;     // section 2.2.3
inline constexpr std::uint8_t kTlvUniqueId = 0x05;   // section 2.2.5

inline constexpr std::size_t kCrc32cSize = 4;

}  // namespace mc::proxy_protocol
