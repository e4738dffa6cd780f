// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ClientHello of a health check: what a common client of TLS 1.2 and 1.3 sends, so that every
// server can answer it. Nobody continues the handshake, so no key belongs to it. Pure; any thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mc::tls {

/// The bytes of a hello that must be random: 32 bytes each. Any 32 bytes are a valid X25519 key.
struct HelloRandoms {
  std::array<std::uint8_t, 32> random;
  std::array<std::uint8_t, 32> session_id;
  std::array<std::uint8_t, 32> key_share;
};

/// One record with a ClientHello that asks for `name`, a valid host name. RFC 8446 section 4.1.2;
/// extensions of TLS 1.2 by RFC 5746, RFC 7627 and RFC 8422.
[[nodiscard]] std::vector<std::uint8_t> check_hello(std::string_view name,
                                                    const HelloRandoms& randoms);

}  // namespace mc::tls
