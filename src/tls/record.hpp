// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers of the TLS record layer and of handshake messages (RFC 8446 sections 5.1 and 4), for the
// hello that is parsed, the one that is built and the reply to it.

#include <cstdint>

namespace mc::tls {

inline constexpr std::uint8_t kContentAlert = 21;
inline constexpr std::uint8_t kContentHandshake = 22;

inline constexpr std::uint8_t kTypeClientHello = 1;
inline constexpr std::uint8_t kTypeServerHello = 2;

inline constexpr std::uint8_t kNameTypeHost = 0;  // RFC 6066 section 3

}  // namespace mc::tls
