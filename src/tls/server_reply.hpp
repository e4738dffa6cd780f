// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a server replies to a ClientHello, from the first bytes of its stream: as much as a health
// check needs to know. Pure; any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>

namespace mc::tls {

/// The head of a ServerHello has come. A HelloRetryRequest is one (RFC 8446 section 4.1.4).
struct ServerHello {};

/// A fatal alert (RFC 8446 section 6).
struct Alert {
  std::uint8_t description = 0;

  bool operator==(const Alert&) const = default;
};
/// The server does not serve the name in the hello (RFC 6066 section 3).
inline constexpr Alert kUnrecognizedName{112};

/// So far the bytes are valid, and do not say which reply it is.
struct ReplyIncomplete {};
/// No server of TLS sends these bytes.
struct NotTls {};

using ServerReply = std::variant<ServerHello, Alert, ReplyIncomplete, NotTls>;

/// The most bytes that a result needs: several alerts of level "warning", and the head of a record.
/// Some servers send such an alert before their ServerHello; it says nothing. More of them are not
/// TLS.
inline constexpr std::size_t kReplyBytesMax = 64;

/// Judges the first bytes of a server's stream. Reads kReplyBytesMax bytes at the most.
[[nodiscard]] ServerReply parse_server_reply(std::span<const std::uint8_t> stream_start);

/// "handshake_failure": the name in RFC 8446 section 6 or RFC 5246 section 7.2; else the number.
[[nodiscard]] std::string to_string(Alert alert);

}  // namespace mc::tls
