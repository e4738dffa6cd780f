// SPDX-License-Identifier: Apache-2.0
#include "tls/server_reply.hpp"

#include <algorithm>
#include <optional>

#include "tls/byte_reader.hpp"
#include "tls/limits.hpp"
#include "tls/record.hpp"

namespace mc::tls {
namespace {

using Bytes = std::span<const std::uint8_t>;

// The result for an alert's record; nothing if the alert is a mere warning, and the next record
// says more. close_notify has the level "warning" and ends the stream.
std::optional<ServerReply> judge_alert(ByteReader& reader, std::size_t size) {
  if (size != kAlertSize) return NotTls{};
  const auto level = reader.u8();
  const auto description = reader.u8();
  if (reader.failed()) return ReplyIncomplete{};
  if (level != kAlertWarning && level != kAlertFatal) return NotTls{};
  if (level == kAlertFatal || description == kCloseNotify.description) return Alert{description};
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

}  // namespace mc::tls
