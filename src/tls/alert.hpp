// SPDX-License-Identifier: Apache-2.0
#pragma once
// TLS alerts before there are keys: their numbers and names, and the record that a refused client
// gets. Pure; any thread.

#include <array>
#include <cstdint>
#include <string>

namespace mc::tls {

/// An alert's description (RFC 8446 section 6).
struct Alert {
  std::uint8_t description = 0;

  bool operator==(const Alert&) const = default;
};

inline constexpr Alert kCloseNotify{0};
/// The hello has no server name, which the server needs (RFC 8446 section 9.2).
inline constexpr Alert kMissingExtension{109};
/// The server does not serve the name in the hello (RFC 6066 section 3).
inline constexpr Alert kUnrecognizedName{112};

/// "handshake_failure": the name in RFC 8446 section 6 or RFC 5246 section 7.2; else the number.
[[nodiscard]] std::string to_string(Alert alert);

/// The alert at level "fatal" as one plaintext record, in answer to a ClientHello of any version
/// (RFC 8446 sections 5.1 and 6.2). Nothing may follow it.
[[nodiscard]] std::array<std::uint8_t, 7> alert_record(Alert alert);

}  // namespace mc::tls
