// SPDX-License-Identifier: Apache-2.0
#include "proxy_protocol/write.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.hpp"
#include "net/ip.hpp"
#include "proxy_protocol/crc32c.hpp"
#include "proxy_protocol/format.hpp"

namespace mc::proxy_protocol {
namespace {

constexpr std::size_t kSegmentMin = 536;  // section 2
static_assert(kFixedPartSize + kTcp6Size + kTlvHeadSize + kAuthorityBytesMax + kTlvHeadSize +
                      kUniqueIdBytesMax + kTlvHeadSize + kCrc32cSize <=
                  kSegmentMin,
              "the longest header fits in the smallest segment");

bool are_v4(const Addresses& addresses) {
  return addresses.source.ip().is_v4() && addresses.destination.ip().is_v4();
}

void append_number(std::string& bytes, std::uint32_t value, std::size_t size) {
  while (size-- > 0) bytes.push_back(static_cast<char>(value >> (8 * size)));
}

// As inet_ntop(3) writes it, but section 2.1 knows no dotted digits in an IPv6 address. Some
// receivers log the text as it came, so it is a short one.
std::string text_v6(const IpAddress& address) {
  std::string text = address.to_string();
  if (!text.contains('.')) return text;
  const auto& bytes = address.bytes();
  return fmt::format("{}{:x}:{:x}", address.is_v4() ? "::ffff:" : "::", bytes[12] << 8 | bytes[13],
                     bytes[14] << 8 | bytes[15]);
}

void append_address(std::string& bytes, const IpAddress& address, bool is_v4) {
  if (is_v4) {
    append_number(bytes, address.v4_value(), 4);
    return;
  }
  for (const auto byte : address.bytes()) bytes.push_back(static_cast<char>(byte));
}

std::string addresses_v2(const Addresses& addresses, bool is_v4) {
  std::string bytes;
  append_address(bytes, addresses.source.ip(), is_v4);
  append_address(bytes, addresses.destination.ip(), is_v4);
  append_number(bytes, addresses.source.port(), 2);
  append_number(bytes, addresses.destination.port(), 2);
  return bytes;
}

std::string tlv(std::uint8_t type, std::string_view value) {
  std::string bytes;
  append_number(bytes, type, 1);
  append_number(bytes, static_cast<std::uint32_t>(value.size()), 2);
  return bytes.append(value);
}

// Section 2.2.3: the checksum of the header with zeros in its place, which is at the end.
void put_checksum(std::string& header) {
  const auto checksum =
      crc32c({reinterpret_cast<const std::uint8_t*>(header.data()), header.size()});
  header.resize(header.size() - kCrc32cSize);
  append_number(header, checksum, kCrc32cSize);
}

}  // namespace

std::string v1(const std::optional<Addresses>& addresses) {
  if (!addresses) return "PROXY UNKNOWN\r\n";
  const auto& [source, destination] = *addresses;
  const bool is_v4 = are_v4(*addresses);
  const auto text = [&](const IpAddress& ip) { return is_v4 ? ip.to_string() : text_v6(ip); };
  return fmt::format("PROXY {} {} {} {} {}\r\n", is_v4 ? "TCP4" : "TCP6", text(source.ip()),
                     text(destination.ip()), source.port(), destination.port());
}

std::string v2(const std::optional<Addresses>& addresses, const Tlvs& tlvs) {
  MC_ASSERT(tlvs.authority.value_or("").size() <= kAuthorityBytesMax, "a header fits a segment");
  MC_ASSERT(tlvs.unique_id.value_or("").size() <= kUniqueIdBytesMax,
            "receivers refuse longer ones");
  std::uint8_t command = kCommandLocal;
  std::uint8_t family = kFamilyUnspecified;
  std::string body;
  if (addresses) {
    const bool is_v4 = are_v4(*addresses);
    command = kCommandProxy;
    family = is_v4 ? kFamilyTcp4 : kFamilyTcp6;
    body = addresses_v2(*addresses, is_v4);
  }
  if (tlvs.authority) body += tlv(kTlvAuthority, *tlvs.authority);
  if (tlvs.unique_id) body += tlv(kTlvUniqueId, *tlvs.unique_id);
  if (tlvs.crc32c) body += tlv(kTlvCrc32c, std::string(kCrc32cSize, '\0'));

  std::string header(kSignature.begin(), kSignature.end());
  append_number(header, kVersion2 << 4 | command, 1);
  append_number(header, family, 1);
  append_number(header, static_cast<std::uint32_t>(body.size()), 2);
  header += body;
  if (tlvs.crc32c) put_checksum(header);
  return header;
}

}  // namespace mc::proxy_protocol
