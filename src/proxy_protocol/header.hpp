// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads the header of the PROXY protocol, version 1 or 2, at the start of a TCP stream: who the
// client of the proxy before us is. A pure function of bytes that were peeked and stay where they
// are. Whether the peer may send a header is not known here.
// Source: HAProxy's doc/proxy-protocol.txt.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "net/socket_address.hpp"

namespace mc::proxy_protocol {

/// "PROXY UNKNOWN" and CRLF: no stream is shorter that begins with a header (section 2.1).
inline constexpr std::size_t kShortestHeader = 15;
/// Longer headers are refused. Section 2.2 allows 65,551 bytes, which a client certificate in a TLV
/// may need: this has room for one, and bounds what a peer makes us hold in the socket's queue.
inline constexpr std::size_t kHeaderBytesMax = 16'384;
/// As much of an authority is kept: a host name is not longer.
inline constexpr std::size_t kAuthorityBytesMax = 255;
/// Section 2.2.5: a longer unique id is wrong.
inline constexpr std::size_t kUniqueIdBytesMax = 128;

/// The ends of the connection that the sender relays. IPv4-mapped addresses are IPv4.
struct Addresses {
  SocketAddress source;  ///< The client.
  SocketAddress destination;

  bool operator==(const Addresses&) const = default;
};

struct Header {
  /// The bytes of the stream that it takes.
  std::size_t size = 0;
  /// Nothing for LOCAL, UNKNOWN, UNSPEC and a Unix socket: the peer itself is the client.
  std::optional<Addresses> addresses;
  /// LOCAL of version 2: the sender's own connection, such as a health check.
  bool is_local = false;
  /// PP2_TYPE_AUTHORITY, the last if there are several, cut to kAuthorityBytesMax: any bytes. The
  /// name that the client asked for, if the sender is right.
  std::string authority;

  bool operator==(const Header&) const = default;
};

/// Why a stream is refused.
enum class Malformed : std::uint8_t {
  kNotProxy,   ///< It begins neither with "PROXY " nor with the signature of version 2.
  kVersion,    ///< The signature, but another version than 2.
  kCommand,    ///< Neither LOCAL nor PROXY.
  kFamily,     ///< Neither TCP over IP nor a Unix socket nor "unknown"; also UDP.
  kAddresses,  ///< An address or a port is wrong, or there is no room for all.
  kLine,       ///< Version 1: a CR or LF alone, or not four fields with one space between.
  kTlv,        ///< The TLVs do not add up, or one has a wrong length or must not be there twice.
  kChecksum,   ///< The bytes are not those that the sender sent.
  kTooLong,    ///< A line of more than 107 bytes, or a header of more than kHeaderBytesMax.
};

/// For a log line: "no PROXY header", "wrong checksum" ...
[[nodiscard]] std::string_view to_string(Malformed malformed);

/// So far the bytes are valid. No header can be complete before the stream is `needed` bytes long,
/// counted from its start; always more than there are, never more than kHeaderBytesMax. A caller
/// that waits for `needed` bytes (SO_RCVLOWAT) also needs a deadline: a Malformed may be provable
/// sooner.
struct Incomplete {
  std::size_t needed = 0;
};

using Parsed = std::variant<Header, Incomplete, Malformed>;

/// Judges the first bytes of a stream; ignores what follows the header. Returns Incomplete for a
/// growing stream until the result is final.
[[nodiscard]] Parsed parse(std::span<const std::uint8_t> stream_start);

}  // namespace mc::proxy_protocol
