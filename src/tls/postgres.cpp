// SPDX-License-Identifier: Apache-2.0
#include "tls/postgres.hpp"

#include <algorithm>

#include "tls/record.hpp"

namespace mc::tls::postgres {
namespace {

using Request = std::array<std::uint8_t, kRequestBytes>;

// The length of the message, itself included, then a code in place of a protocol version.
constexpr Request kSslRequestBytes = {0, 0, 0, kRequestBytes, 0x04, 0xd2, 0x16, 0x2f};  // 80877103
constexpr Request kGssEncRequestBytes = {0, 0, 0, kRequestBytes, 0x04, 0xd2, 0x16, 0x30};  // ..104

bool agree(std::span<const std::uint8_t> start, const Request& request) {
  const std::size_t size = std::min(start.size(), request.size());
  return std::ranges::equal(start.first(size), std::span(request).first(size));
}

}  // namespace

Opening judge(std::span<const std::uint8_t> stream_start) {
  // As a length of 0x16000000 bytes or more, it could begin no message of PostgreSQL.
  if (!stream_start.empty() && stream_start[0] == kContentHandshake) return Opening::kDirectTls;
  const bool is_ssl = agree(stream_start, kSslRequestBytes);
  if (!is_ssl && !agree(stream_start, kGssEncRequestBytes)) return Opening::kPlain;
  if (stream_start.size() < kRequestBytes) return Opening::kIncomplete;
  if (stream_start.size() > kRequestBytes) return Opening::kPipelined;
  return is_ssl ? Opening::kSslRequest : Opening::kGssEncRequest;
}

Request ssl_request() { return kSslRequestBytes; }

}  // namespace mc::tls::postgres
