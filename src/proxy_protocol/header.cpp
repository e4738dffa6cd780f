// SPDX-License-Identifier: Apache-2.0
#include "proxy_protocol/header.hpp"

#include <algorithm>
#include <array>
#include <expected>

#include "net/ip.hpp"
#include "proxy_protocol/crc32c.hpp"
#include "proxy_protocol/format.hpp"

namespace mc::proxy_protocol {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Whether `stream` begins with `start`, as far as it goes.
bool agrees(std::string_view stream, std::string_view start) {
  return stream.substr(0, start.size()) == start.substr(0, stream.size());
}

// ---- Version 1 (section 2.1) ----

enum class Protocol : std::uint8_t { kTcp4, kTcp6, kUnknown };

// How a line begins, and the size of the shortest one that does, with its CRLF.
struct LineStart {
  std::string_view text;
  Protocol protocol;
  std::size_t shortest_line;
};
constexpr auto kLineStarts = std::to_array<LineStart>({
    {"PROXY TCP4 ", Protocol::kTcp4, 32},  // 0.0.0.0 0.0.0.0 0 0
    {"PROXY TCP6 ", Protocol::kTcp6, 22},  // :: :: 0 0
    {"PROXY UNKNOWN ", Protocol::kUnknown, 16},
    {"PROXY UNKNOWN\r", Protocol::kUnknown, kShortestHeader},
});

// The address in its only permitted text: an IPv4 one with TCP4, an IPv6 one with TCP6. There,
// dotted digits are permitted for IPv4-mapped addresses alone, as inet_ntop(3) writes them.
std::optional<IpAddress> read_address(std::string_view text, Protocol protocol) {
  if (text.contains(':') != (protocol == Protocol::kTcp6)) return std::nullopt;
  const auto address = IpAddress::parse(text);
  if (!address.has_value()) return std::nullopt;
  if (protocol == Protocol::kTcp6 && text.contains('.') && !address->is_v4()) return std::nullopt;
  return *address;
}

// Reads "source destination source-port destination-port".
std::expected<Addresses, Malformed> read_fields(std::string_view text, Protocol protocol) {
  std::array<std::string_view, 4> fields;
  for (auto& field : fields) {
    const auto end = std::min(text.find(' '), text.size());
    field = text.substr(0, end);
    text.remove_prefix(end);
    const bool is_last = &field == &fields.back();
    if (field.empty() || text.empty() != is_last) return std::unexpected(Malformed::kLine);
    if (!is_last) text.remove_prefix(1);
  }
  const auto source = read_address(fields[0], protocol);
  const auto destination = read_address(fields[1], protocol);
  const auto source_port = parse_port(fields[2]);
  const auto destination_port = parse_port(fields[3]);
  if (!source || !destination || !source_port || !destination_port) {
    return std::unexpected(Malformed::kAddresses);
  }
  return Addresses{.source = {*source, *source_port},
                   .destination = {*destination, *destination_port}};
}

// Finds the CRLF: the size of the line without it, or the result of parse().
std::expected<std::size_t, Parsed> find_line_end(std::string_view stream,
                                                 std::size_t shortest_line) {
  const auto searched = stream.substr(0, kLineBytesMax - 1);  // The last byte can only be the LF.
  const auto end = searched.find_first_of("\r\n");
  if (end == searched.npos) {
    if (searched.size() == kLineBytesMax - 1) return std::unexpected(Malformed::kTooLong);
    return std::unexpected(Incomplete{std::max(shortest_line, stream.size() + 2)});
  }
  if (stream[end] == '\n') return std::unexpected(Malformed::kLine);
  if (end + 1 == stream.size()) return std::unexpected(Incomplete{end + 2});
  if (stream[end + 1] != '\n') return std::unexpected(Malformed::kLine);
  return end;
}

Parsed parse_v1(std::string_view stream) {
  if (!agrees(stream, kLineStart)) return Malformed::kNotProxy;
  const LineStart* start = nullptr;
  std::size_t shortest_line = kLineBytesMax;
  for (const auto& possible : kLineStarts) {
    if (!agrees(stream, possible.text)) continue;
    start = &possible;
    shortest_line = std::min(shortest_line, possible.shortest_line);
  }
  if (start == nullptr) return Malformed::kFamily;
  const auto line_end = find_line_end(stream, shortest_line);
  if (!line_end.has_value()) return line_end.error();

  Header header{.size = *line_end + 2};
  if (start->protocol == Protocol::kUnknown) return header;
  const auto addresses =
      read_fields(stream.substr(0, *line_end).substr(start->text.size()), start->protocol);
  if (!addresses.has_value()) return addresses.error();
  header.addresses = *addresses;
  return header;
}

// ---- Version 2 (section 2.2) ----

constexpr std::size_t kCommandAt = 12;
constexpr std::size_t kFamilyAt = 13;
constexpr std::size_t kLengthAt = 14;

std::size_t u16(Bytes bytes, std::size_t at) { return std::size_t{bytes[at]} << 8 | bytes[at + 1]; }

std::uint32_t u32(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(u16(bytes, at) << 16 | u16(bytes, at + 2));
}

// The size of the addresses of a family that we accept. UNSPEC has none defined, so its TLVs follow
// at once, as HAProxy writes them. UDP is refused as a receiver may refuse UNSPEC, to which it
// falls back from what it does not implement.
std::optional<std::size_t> addresses_size(std::uint8_t family) {
  switch (family) {
    case kFamilyUnspecified:
      return 0;
    case kFamilyTcp4:
      return kTcp4Size;
    case kFamilyTcp6:
      return kTcp6Size;
    case kFamilyUnix:
      return kUnixSize;
    default:
      return std::nullopt;
  }
}

SocketAddress address_v4(Bytes block, std::size_t address_at, std::size_t port_at) {
  return {IpAddress::v4(u32(block, address_at)), static_cast<std::uint16_t>(u16(block, port_at))};
}

SocketAddress address_v6(Bytes block, std::size_t address_at, std::size_t port_at) {
  IpAddress::Bytes address{};
  std::ranges::copy(block.subspan(address_at, address.size()), address.begin());
  return {IpAddress(address), static_cast<std::uint16_t>(u16(block, port_at))};
}

std::optional<Addresses> read_addresses(std::uint8_t family, Bytes block) {
  if (family == kFamilyTcp4) {
    return Addresses{.source = address_v4(block, 0, 8), .destination = address_v4(block, 4, 10)};
  }
  if (family == kFamilyTcp6) {
    return Addresses{.source = address_v6(block, 0, 32), .destination = address_v6(block, 16, 34)};
  }
  return std::nullopt;
}

// What follows the addresses. The value of the checksum is a part of the header's bytes.
struct FoundTlvs {
  Bytes authority;
  std::optional<Bytes> checksum;
};

std::expected<FoundTlvs, Malformed> read_tlvs(Bytes rest) {
  constexpr auto kWrong = std::unexpected(Malformed::kTlv);
  FoundTlvs found;
  while (!rest.empty()) {
    if (rest.size() < kTlvHeadSize) return kWrong;
    const auto type = rest[0];
    const auto size = u16(rest, 1);
    rest = rest.subspan(kTlvHeadSize);
    if (rest.size() < size) return kWrong;
    const auto value = rest.first(size);
    rest = rest.subspan(size);
    if (type == kTlvAuthority) found.authority = value;
    if (type == kTlvUniqueId && size > kUniqueIdBytesMax) return kWrong;
    if (type == kTlvCrc32c) {
      if (size != kCrc32cSize || found.checksum) return kWrong;
      found.checksum = value;
    }
  }
  return found;
}

// Section 2.2.3: the checksum is that of the whole header with zeros in its place.
bool is_checksum_right(Bytes header, Bytes checksum) {
  constexpr std::array<std::uint8_t, kCrc32cSize> kZeros{};
  const auto at = static_cast<std::size_t>(checksum.data() - header.data());
  std::uint32_t expected = crc32c(header.first(at));
  expected = crc32c(kZeros, expected);
  expected = crc32c(header.subspan(at + kCrc32cSize), expected);
  return expected == u32(checksum, 0);
}

// Judges the first 16 bytes: the size of the header, or the result of parse() if that is known
// without the rest.
std::expected<std::size_t, Parsed> judge_fixed_part(Bytes stream) {
  if (!agrees(text_of(stream), text_of(kSignature))) return std::unexpected(Malformed::kNotProxy);
  if (stream.size() <= kCommandAt) return std::unexpected(Incomplete{kFixedPartSize});
  const auto command = stream[kCommandAt] & 0xf;
  if (stream[kCommandAt] >> 4 != kVersion2) return std::unexpected(Malformed::kVersion);
  if (command > kCommandProxy) return std::unexpected(Malformed::kCommand);

  if (stream.size() <= kFamilyAt) return std::unexpected(Incomplete{kFixedPartSize});
  // Of LOCAL only the length counts.
  const auto addresses = command == kCommandLocal ? 0 : addresses_size(stream[kFamilyAt]);
  if (!addresses) return std::unexpected(Malformed::kFamily);
  if (stream.size() < kFixedPartSize) return std::unexpected(Incomplete{kFixedPartSize});

  const auto length = u16(stream, kLengthAt);
  if (length < *addresses) return std::unexpected(Malformed::kAddresses);
  const auto size = kFixedPartSize + length;
  if (size > kHeaderBytesMax) return std::unexpected(Malformed::kTooLong);
  if (stream.size() < size) return std::unexpected(Incomplete{size});
  return size;
}

Parsed parse_v2(Bytes stream) {
  const auto size = judge_fixed_part(stream);
  if (!size.has_value()) return size.error();
  Header header{.size = *size, .is_local = (stream[kCommandAt] & 0xf) == kCommandLocal};
  if (header.is_local) return header;

  const auto bytes = stream.first(*size);
  const auto family = stream[kFamilyAt];
  const auto tlvs = read_tlvs(bytes.subspan(kFixedPartSize + *addresses_size(family)));
  if (!tlvs.has_value()) return tlvs.error();
  if (tlvs->checksum && !is_checksum_right(bytes, *tlvs->checksum)) return Malformed::kChecksum;
  header.addresses = read_addresses(family, bytes.subspan(kFixedPartSize));
  header.authority = text_of(tlvs->authority).substr(0, kAuthorityBytesMax);
  return header;
}

}  // namespace

std::string_view to_string(Malformed malformed) {
  switch (malformed) {
    case Malformed::kNotProxy:
      return "no PROXY header";
    case Malformed::kVersion:
      return "unknown version";
    case Malformed::kCommand:
      return "unknown command";
    case Malformed::kFamily:
      return "unsupported address family";
    case Malformed::kAddresses:
      return "wrong addresses";
    case Malformed::kLine:
      return "malformed line";
    case Malformed::kTlv:
      return "malformed TLV";
    case Malformed::kChecksum:
      return "wrong checksum";
    case Malformed::kTooLong:
      return "header too long";
  }
  return "unknown";
}

Parsed parse(Bytes stream_start) {
  if (stream_start.empty()) return Incomplete{kShortestHeader};
  if (stream_start[0] == kSignature[0]) return parse_v2(stream_start);
  return parse_v1(text_of(stream_start.first(std::min(stream_start.size(), kLineBytesMax))));
}

}  // namespace mc::proxy_protocol
