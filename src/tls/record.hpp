// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers of the TLS record layer and of handshake messages (RFC 8446 sections 5.1, 4 and 6), for
// the hello that is parsed, the one that is built, the reply to it and the alert that refuses it.

#include <cstdint>

namespace mc::tls {

inline constexpr std::uint8_t kContentAlert = 21;
inline constexpr std::uint8_t kContentHandshake = 22;

/// legacy_record_version of every record but a first ClientHello's (RFC 8446 section 5.1).
inline constexpr std::uint16_t kRecordVersion = 0x0303;

inline constexpr std::uint8_t kAlertWarning = 1;
inline constexpr std::uint8_t kAlertFatal = 2;
inline constexpr std::uint8_t kAlertSize = 2;

inline constexpr std::uint8_t kTypeClientHello = 1;
inline constexpr std::uint8_t kTypeServerHello = 2;

inline constexpr std::uint8_t kNameTypeHost = 0;  // RFC 6066 section 3

}  // namespace mc::tls
