// SPDX-License-Identifier: Apache-2.0
#pragma once
// ClientHellos for tests, fuzzers and benchmarks: built field by field, well-formed or not, cut
// into records at will, or captured from real clients. Encodes only; it shares no code with the
// parser.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tls/client_hello.hpp"

namespace mc::tls::testing {

using Bytes = std::vector<std::uint8_t>;

// ---- Encoding ----

Bytes bytes(std::string_view text);
Bytes u16(std::size_t value);
Bytes join(std::initializer_list<Bytes> parts);
/// The body with its length in front, in one or two bytes.
Bytes vector8(const Bytes& body);
Bytes vector16(const Bytes& body);

inline constexpr std::uint8_t kHandshakeRecord = 22;

/// One record, of any content type, version and size up to 65535.
Bytes record(const Bytes& payload, std::uint8_t type = kHandshakeRecord,
             std::uint16_t version = 0x0301);
/// A handshake message with its header.
Bytes handshake(const Bytes& body, std::uint8_t type = 1);
/// The message cut into records of at most `payload_max` bytes.
Bytes in_records(std::span<const std::uint8_t> message, std::size_t payload_max = 16384);
/// The message cut into two records, the first of `cut` bytes.
Bytes in_two_records(const Bytes& message, std::size_t cut);

// ---- Hellos ----

/// The body of a server_name extension with one entry.
Bytes server_name_body(std::string_view name, std::uint8_t name_type = 0);

/// Builds a ClientHello. Begins as a TLS 1.3 hello without extensions; every setter takes the
/// field's content as it is, right or wrong, and extensions appear in the order in which they are
/// added.
class HelloBuilder {
 public:
  HelloBuilder& legacy_version(std::uint16_t version);
  HelloBuilder& session_id(Bytes id);
  HelloBuilder& cipher_suites(Bytes suites);
  HelloBuilder& compression_methods(Bytes methods);
  /// Leaves the extension block out altogether, with its length.
  HelloBuilder& no_extension_block();

  HelloBuilder& extension(std::size_t type, const Bytes& body = {});
  HelloBuilder& server_name(std::string_view name);
  HelloBuilder& alpn(std::initializer_list<std::string_view> protocols);
  HelloBuilder& supported_versions(std::initializer_list<std::uint16_t> versions);
  /// Adds a padding extension that makes the message `size` bytes long, which must be 4 or more
  /// longer than it is.
  HelloBuilder& padded_to(std::size_t size);

  /// The body of the handshake message.
  [[nodiscard]] Bytes body() const;
  /// The handshake message.
  [[nodiscard]] Bytes message() const { return handshake(body()); }
  /// The message in as few records as possible.
  [[nodiscard]] Bytes stream() const { return in_records(message()); }

 private:
  std::uint16_t legacy_version_ = 0x0303;
  Bytes session_id_ = Bytes(32, 0x5e);
  Bytes cipher_suites_ = {0x13, 0x01, 0x13, 0x02, 0xc0, 0x2b};
  Bytes compression_methods_ = {0};
  std::optional<Bytes> extensions_ = Bytes();
};

/// A hello with this name, two protocols and TLS 1.2 and 1.3 on offer.
HelloBuilder typical_hello(std::string_view name = "app.example.com");

/// What Chrome sends: GREASE, an X25519MLKEM768 key share, GREASE ECH; about 1.8 KB. Its result,
/// except for the name, is "alpn=h2,http/1.1 versions=0303/0304 ech".
HelloBuilder chrome_like_hello(std::string_view name = "app.example.com");

/// A file of tests/fuzz/tls/client_hello_corpus, found from MC_SOURCE_ROOT. Throws if it is not
/// there.
Bytes corpus_file(std::string_view name);

// ---- Results ----

/// The result in one line, for comparing and printing: "app.example.com alpn=h2,http/1.1
/// versions=0303/0304 ech", "incomplete 9" or the Reject's own text.
std::string describe(const ParseResult& result);

}  // namespace mc::tls::testing
