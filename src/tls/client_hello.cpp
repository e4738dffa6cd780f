// SPDX-License-Identifier: Apache-2.0
#include "tls/client_hello.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>

#include "tls/byte_reader.hpp"
#include "tls/limits.hpp"
#include "tls/record.hpp"

namespace mc::tls {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kRandomSize = 32;
constexpr std::size_t kSessionIdMax = 32;

constexpr std::uint16_t kExtensionServerName = 0;
constexpr std::uint16_t kExtensionAlpn = 16;
constexpr std::uint16_t kExtensionSupportedVersions = 43;
constexpr std::uint16_t kExtensionEncryptedClientHello = 0xfe0d;

constexpr bool is_major_3(std::uint16_t version) { return version >> 8 == 3; }

// SSL 3.0 to TLS 1.3.
constexpr bool is_tls(std::uint16_t version) {
  return is_major_3(version) && (version & 0xff) <= 4;
}

constexpr std::size_t kSslV2HeadSize = 5;

// What a stream is that does not begin like a handshake record. An SSLv2 CLIENT-HELLO has a length
// of two bytes with the high bit set, then the message type, then the offered version.
ParseResult judge_other(Bytes stream) {
  ByteReader reader(stream);
  if ((reader.u8() & 0x80) == 0) return Reject::kNotTls;
  reader.u8();
  const auto type = reader.u8();
  if (!reader.failed() && type != kTypeClientHello) return Reject::kNotTls;
  const auto version = reader.u16();
  if (reader.failed()) return Incomplete{kSslV2HeadSize};
  return version == 0x0002 || is_tls(version) ? Reject::kSslV2 : Reject::kNotTls;
}

// ---- Records: where the message lies in the stream ----

struct Record {
  std::size_t payload_size;
  Bytes arrived;  // As much of the payload as is there.
};

// Reads the record at the front of `bytes`, or nothing while its header is incomplete. Only
// handshake records may come before the end of the hello: any other record, such as an alert, ends
// it.
std::expected<std::optional<Record>, Reject> read_record(Bytes bytes) {
  ByteReader reader(bytes);
  const auto type = reader.u8();
  if (!reader.failed() && type != kContentHandshake) {
    return std::unexpected(Reject::kMalformedRecord);
  }
  const auto version = reader.u16();
  const std::size_t size = reader.u16();
  if (reader.failed()) return std::nullopt;
  // RFC 8446 section 5.1: the version of a record means nothing. RFC 5246 appendix E.1: {3, any}.
  if (!is_major_3(version) || size == 0 || size > kRecordPayloadMax) {
    return std::unexpected(Reject::kMalformedRecord);
  }
  return Record{.payload_size = size,
                .arrived = reader.rest().first(std::min(size, reader.rest().size()))};
}

// The handshake header: the message's type and size, in four bytes that records may cut apart.
class MessageHeader {
 public:
  void take(Bytes payload) {
    const auto missing = payload.first(std::min(payload.size(), bytes_.size() - size_));
    std::ranges::copy(missing, bytes_.begin() + size_);
    size_ += missing.size();
  }

  [[nodiscard]] bool complete() const { return size_ == bytes_.size(); }

  // The size of the message with this header; before the header is complete, the least it can be.
  [[nodiscard]] std::expected<std::size_t, Reject> message_size() const {
    ByteReader reader(Bytes(bytes_).first(size_));
    const auto type = reader.u8();
    if (!reader.failed() && type != kTypeClientHello) {
      return std::unexpected(Reject::kMalformedHandshake);
    }
    const auto size = kHandshakeHeaderSize + reader.u24();
    if (reader.failed()) return kHandshakeHeaderSize;
    if (size > kHelloMessageMax) return std::unexpected(Reject::kTooLarge);
    return size;
  }

 private:
  std::array<std::uint8_t, kHandshakeHeaderSize> bytes_{};
  std::size_t size_ = 0;
};

// The fewest raw bytes that can carry so much of a message: in the fullest records.
constexpr std::size_t raw_size_min(std::size_t message_bytes) {
  const auto records = (message_bytes + kRecordPayloadMax - 1) / kRecordPayloadMax;
  return message_bytes + (records * kRecordHeaderSize);
}

// Walks from record to record; reads no payload but the handshake header. Returns the size of the
// message once all its records are there, else the result of parse().
std::expected<std::size_t, ParseResult> find_message(Bytes stream) {
  MessageHeader header;
  std::size_t message_bytes = 0;  // In the records before `offset`.
  std::size_t offset = 0;
  Incomplete incomplete{raw_size_min(kHandshakeHeaderSize)};
  for (;;) {
    const auto record = read_record(stream.subspan(offset));
    if (!record) return std::unexpected(record.error());
    if (!*record) return std::unexpected(incomplete);
    const auto& [payload_size, arrived] = **record;

    header.take(arrived);
    const auto message_size = header.message_size();
    if (!message_size) return std::unexpected(message_size.error());

    message_bytes += payload_size;
    offset += kRecordHeaderSize + payload_size;
    // A ClientHello must end with its record, since a key change may follow (RFC 8446 section 5.1).
    // Before TLS 1.3 no client sends anything more before the ServerHello.
    if (header.complete() && message_bytes > *message_size) {
      return std::unexpected(Reject::kMalformedHandshake);
    }
    const auto missing = *message_size - std::min(*message_size, message_bytes);
    incomplete.needed = offset + raw_size_min(missing);
    if (incomplete.needed > kHelloStreamMax) return std::unexpected(Reject::kTooLarge);
    if (stream.size() < offset) return std::unexpected(incomplete);
    if (missing == 0) return *message_size;
  }
}

// ---- The message ----

// What the extensions contain, before it is known whether they name a host.
struct Extensions {
  std::optional<Bytes> server_name;
  AlpnList alpn;
  std::optional<std::uint16_t> highest_version;
  bool ech_offered = false;
};

// A list of names with at most one of each type. host_name is the only defined type, so the list
// holds one name; another type could only hide what a less strict backend would read.
std::optional<Bytes> read_server_name(ByteReader body) {
  auto list = body.vector16();
  const auto type = list.u8();
  const auto name = list.vector16();
  if (!body.finished() || !list.finished() || type != kNameTypeHost) return std::nullopt;
  return name.rest();
}

std::optional<AlpnList> read_alpn(ByteReader body) {
  const auto names = body.vector16();
  return body.finished() ? AlpnList::from(names.rest()) : std::nullopt;
}

std::optional<std::uint16_t> read_highest_version(ByteReader body) {
  auto list = body.vector8();
  if (!body.finished() || list.empty()) return std::nullopt;
  std::uint16_t highest = 0;
  while (!list.empty()) {
    const auto version = list.u16();
    if (is_major_3(version)) highest = std::max(highest, version);
  }
  return list.failed() ? std::nullopt : std::optional(highest);
}

std::expected<Extensions, Reject> read_extensions(ByteReader block) {
  constexpr auto kMalformed = std::unexpected(Reject::kMalformedExtension);
  Extensions found;
  // One bit for every possible type, so that the check costs the same for each of the 16 K
  // extensions that fit in a hello. Clearing these 8 KiB takes less than 100 ns, and needs no state
  // between hellos.
  std::bitset<65536> seen;
  while (!block.empty()) {
    const auto type = block.u16();
    const auto body = block.vector16();
    if (block.failed() || seen[type]) return kMalformed;
    seen[type] = true;
    switch (type) {
      case kExtensionServerName:
        found.server_name = read_server_name(body);
        if (!found.server_name) return kMalformed;
        break;
      case kExtensionAlpn: {
        const auto alpn = read_alpn(body);
        if (!alpn) return kMalformed;
        found.alpn = *alpn;
        break;
      }
      case kExtensionSupportedVersions:
        found.highest_version = read_highest_version(body);
        if (!found.highest_version) return kMalformed;
        break;
      case kExtensionEncryptedClientHello:
        found.ech_offered = true;
        break;
      default:
        break;
    }
  }
  return found;
}

// `refused` is set to the name that is no host name.
std::expected<ClientHello, Reject> read_message(Bytes message, Bytes& refused) {
  ByteReader reader(message);
  reader.bytes(kHandshakeHeaderSize);
  const auto legacy_version = reader.u16();
  reader.bytes(kRandomSize);
  const auto session_id = reader.vector8().rest();
  const auto cipher_suites = reader.vector16().rest();
  const auto compression_methods = reader.vector8().rest();
  // A version newer than all that we know is left to the backend (RFC 5246 appendix E.1).
  if (reader.failed() || legacy_version < 0x0300 || session_id.size() > kSessionIdMax ||
      cipher_suites.empty() || cipher_suites.size() % 2 != 0 || compression_methods.empty()) {
    return std::unexpected(Reject::kMalformedHandshake);
  }
  // SSL 3.0 and TLS 1.0 clients may leave out the whole block.
  if (reader.empty()) return std::unexpected(Reject::kNoSni);

  const auto block = reader.vector16();
  if (!reader.finished()) return std::unexpected(Reject::kMalformedExtension);
  const auto extensions = read_extensions(block);
  if (!extensions) return std::unexpected(extensions.error());
  if (!extensions->server_name) return std::unexpected(Reject::kNoSni);

  const auto raw_name = *extensions->server_name;
  const auto name =
      HostName::from({reinterpret_cast<const char*>(raw_name.data()), raw_name.size()});
  if (!name) {
    refused = raw_name;
    return std::unexpected(Reject::kNameInvalid);
  }
  return ClientHello{
      .server_name = *name,
      .alpn = extensions->alpn,
      .legacy_version = legacy_version,
      .highest_version = extensions->highest_version.value_or(legacy_version),
      .ech_offered = extensions->ech_offered,
  };
}

}  // namespace

std::string_view to_string(Reject reject) {
  switch (reject) {
    case Reject::kNotTls:
      return "not_tls";
    case Reject::kSslV2:
      return "sslv2";
    case Reject::kMalformedRecord:
      return "malformed_record";
    case Reject::kMalformedHandshake:
      return "malformed_handshake";
    case Reject::kMalformedExtension:
      return "malformed_extension";
    case Reject::kNameInvalid:
      return "name_invalid";
    case Reject::kTooLarge:
      return "too_large";
    case Reject::kNoSni:
      return "no_sni";
  }
  return "unknown";
}

std::optional<AlpnList> AlpnList::from(Bytes names) {
  ByteReader reader(names);
  do {
    if (reader.vector8().empty()) return std::nullopt;
  } while (!reader.empty());
  return AlpnList(names);
}

ClientHelloParser::ClientHelloParser()
    : message_(std::make_unique_for_overwrite<std::uint8_t[]>(kHelloMessageMax)) {}

ParseResult ClientHelloParser::parse(Bytes stream_start) {
  if (!stream_start.empty() && stream_start[0] != kContentHandshake) {
    return judge_other(stream_start);
  }
  const auto size = find_message(stream_start);
  if (!size) return size.error();
  const auto hello = read_message(message_in(stream_start, *size), refused_name_);
  if (!hello) return hello.error();
  return *hello;
}

// The message of the size that find_message() returned: in place if one record holds it, else
// joined. find_message() has checked that the payloads add up to this size, and that none is empty.
Bytes ClientHelloParser::message_in(Bytes stream, std::size_t size) {
  ByteReader records(stream);
  std::size_t joined = 0;
  while (joined < size) {
    records.bytes(kRecordHeaderSize - sizeof(std::uint16_t));
    const auto payload = records.vector16().rest();
    if (payload.size() == size) return payload;
    std::memcpy(&message_[joined], payload.data(), payload.size());
    joined += payload.size();
  }
  return {message_.get(), size};
}

}  // namespace mc::tls
