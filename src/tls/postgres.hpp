// SPDX-License-Identifier: Apache-2.0
#pragma once
// What stands before the ClientHello in PostgreSQL's protocol: a client asks for TLS with a request
// of 8 bytes and sends its hello after the server's answer of one byte. Source: PostgreSQL's
// documentation, "Frontend/Backend Protocol", sections "Message Flow" (SSL and GSSAPI Session
// Encryption) and "Message Formats". Pure; any thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mc::tls::postgres {

/// The size of an SSLRequest and of a GSSENCRequest.
inline constexpr std::size_t kRequestBytes = 8;

/// The replies to a request. After "accepts" to an SSLRequest the next byte is the hello's; after
/// "refuses" a client may send another request, a StartupMessage, or nothing.
inline constexpr std::uint8_t kAccepts = 'S';
inline constexpr std::uint8_t kRefuses = 'N';

/// How a client begins.
enum class Opening : std::uint8_t {
  kIncomplete,     // the start of a request
  kDirectTls,      // a TLS record, without a request (PostgreSQL 17, sslnegotiation=direct)
  kSslRequest,     // exactly an SSLRequest
  kGssEncRequest,  // exactly a GSSENCRequest
  kPlain,          // a StartupMessage, a CancelRequest or anything else: no TLS follows
  // More bytes stand behind a request. A client waits for the answer, so somebody on the way may
  // have put them there, to be taken for bytes that came encrypted (CVE-2021-23214).
  kPipelined,
};

/// Judges the first bytes of a client's stream, or those after an answer of kRefuses. The result is
/// final as soon as it is not kIncomplete, but for kSslRequest and kGssEncRequest: those become
/// kPipelined if more bytes come before the answer.
[[nodiscard]] Opening judge(std::span<const std::uint8_t> stream_start);

/// The SSLRequest, to send to a backend.
[[nodiscard]] std::array<std::uint8_t, kRequestBytes> ssl_request();

}  // namespace mc::tls::postgres
