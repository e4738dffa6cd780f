// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a server replies to a ClientHello, from the first bytes of its stream: as much as a health
// check needs to know. Pure; any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "tls/alert.hpp"

namespace mc::tls {

/// The head of a ServerHello has come. A HelloRetryRequest is one (RFC 8446 section 4.1.4).
struct ServerHello {};

/// So far the bytes are valid, and do not say which reply it is.
struct ReplyIncomplete {};
/// No server of TLS sends these bytes.
struct NotTls {};

/// An Alert is a fatal one, or close_notify.
using ServerReply = std::variant<ServerHello, Alert, ReplyIncomplete, NotTls>;

/// The most bytes that a result needs: several alerts of level "warning", and the head of a record.
/// Some servers send such an alert before their ServerHello; it says nothing. More of them are not
/// TLS.
inline constexpr std::size_t kReplyBytesMax = 64;

/// Judges the first bytes of a server's stream. Reads kReplyBytesMax bytes at the most.
[[nodiscard]] ServerReply parse_server_reply(std::span<const std::uint8_t> stream_start);

}  // namespace mc::tls
