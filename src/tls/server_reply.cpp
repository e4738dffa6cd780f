// SPDX-License-Identifier: Apache-2.0
#include "tls/server_reply.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "tls/byte_reader.hpp"
#include "tls/limits.hpp"
#include "tls/record.hpp"

namespace mc::tls {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kLevelWarning = 1;
constexpr std::uint8_t kLevelFatal = 2;
constexpr std::size_t kAlertSize = 2;
constexpr std::uint8_t kCloseNotify = 0;

// RFC 8446 section 6; those that only RFC 5246 section 7.2, RFC 7507 and RFC 7301 have too.
constexpr auto kNames = std::to_array<std::pair<std::uint8_t, std::string_view>>({
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {21, "decryption_failed"},
    {22, "record_overflow"},
    {30, "decompression_failure"},
    {40, "handshake_failure"},
    {41, "no_certificate"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {60, "export_restriction"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {111, "certificate_unobtainable"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {114, "bad_certificate_hash_value"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
    {121, "ech_required"},
});

// The result for an alert's record; nothing if the alert is a mere warning, and the next record
// says more. close_notify has the level "warning" and ends the stream.
std::optional<ServerReply> judge_alert(ByteReader& reader, std::size_t size) {
  if (size != kAlertSize) return NotTls{};
  const auto level = reader.u8();
  const auto description = reader.u8();
  if (reader.failed()) return ReplyIncomplete{};
  if (level != kLevelWarning && level != kLevelFatal) return NotTls{};
  if (level == kLevelFatal || description == kCloseNotify) return Alert{description};
  return std::nullopt;
}

// The same for any record.
std::optional<ServerReply> judge_record(ByteReader& reader) {
  const auto type = reader.u8();
  if (reader.failed()) return ReplyIncomplete{};
  if (type != kContentHandshake && type != kContentAlert) return NotTls{};
  const auto major = reader.u8();
  if (!reader.failed() && major != 3) return NotTls{};
  reader.u8();
  const std::size_t size = reader.u16();
  if (reader.failed()) return ReplyIncomplete{};
  if (size == 0 || size > kRecordPayloadMax) return NotTls{};
  if (type == kContentAlert) return judge_alert(reader, size);
  const auto message = reader.u8();
  if (reader.failed()) return ReplyIncomplete{};
  if (message == kTypeServerHello) return ServerHello{};
  return NotTls{};
}

}  // namespace

ServerReply parse_server_reply(Bytes stream_start) {
  ByteReader reader(stream_start.first(std::min(stream_start.size(), kReplyBytesMax)));
  for (;;) {
    const auto result = judge_record(reader);
    if (!result.has_value()) continue;
    const bool is_full = stream_start.size() >= kReplyBytesMax;
    if (is_full && std::holds_alternative<ReplyIncomplete>(*result)) return NotTls{};
    return *result;
  }
}

std::string to_string(Alert alert) {
  const auto* const found = std::ranges::find(kNames, alert.description,
                                              &std::pair<std::uint8_t, std::string_view>::first);
  if (found != kNames.end()) return std::string(found->second);
  return std::to_string(alert.description);
}

}  // namespace mc::tls
