// SPDX-License-Identifier: Apache-2.0
#include "proxy_protocol/write.hpp"

#include <string>

#include "support/catch.hpp"
#include "unit/proxy_protocol/header_builder.hpp"

using namespace mc::proxy_protocol;
using namespace mc::proxy_protocol::testing;
using mc::IpAddress;
using mc::SocketAddress;

namespace {

constexpr std::size_t kSmallestSegment = 536;

Addresses between(std::string_view source, std::string_view destination) {
  return {.source = {IpAddress::parse(source).value(), 51000},
          .destination = {IpAddress::parse(destination).value(), 443}};
}

// The address as a socket of both families has it.
SocketAddress mapped(std::string_view v4, std::uint16_t port) {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_port = htons(port);
  const auto ip = IpAddress::parse(v4).value();
  std::copy(ip.bytes().begin(), ip.bytes().end(), raw.sin6_addr.s6_addr);
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&raw));
}

Header read(const std::string& written) {
  const auto parsed = parse(bytes(written));
  REQUIRE(describe(parsed).ends_with(std::to_string(written.size()) + " bytes"));
  return std::get<Header>(parsed);
}

const auto kV4 = between("192.0.2.1", "198.51.100.2");
const auto kV6 = between("2001:db8::1", "2001:db8::2");

}  // namespace

TEST_CASE("a line is written in its family") {
  CHECK(v1({}) == "PROXY UNKNOWN\r\n");
  CHECK(v1(kV4) == "PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n");
  CHECK(v1(kV6) == "PROXY TCP6 2001:db8::1 2001:db8::2 51000 443\r\n");
}

TEST_CASE("a binary header is written in its family") {
  CHECK(bytes(v2({}, {})) == binary(kLocal, 0x00, {}));
  CHECK(bytes(v2(kV4, {})) == binary(kProxy, 0x11, addresses_v4()));
  CHECK(bytes(v2(kV6, {})) == binary(kProxy, 0x21, addresses_v6()));
}

TEST_CASE("addresses of two families are both written as IPv6") {
  CHECK(v1(between("192.0.2.1", "2001:db8::2")) ==
        "PROXY TCP6 ::ffff:c000:201 2001:db8::2 51000 443\r\n");
  CHECK(v1(between("2001:db8::1", "198.51.100.2")) ==
        "PROXY TCP6 2001:db8::1 ::ffff:c633:6402 51000 443\r\n");
  CHECK(bytes(v2(between("192.0.2.1", "2001:db8::2"), {})) ==
        binary(kProxy, 0x21,
               hex("00000000 00000000 0000ffff c0000201 20010db8 00000000 00000000 00000002"
                   "c738 01bb")));
}

TEST_CASE("no IPv6 address in a line has dotted digits") {
  CHECK(v1(between("::192.0.2.1", "::")) == "PROXY TCP6 ::c000:201 :: 51000 443\r\n");
  CHECK(v1(between("::1:2", "::ffff:0.0.0.0")) == "PROXY TCP6 ::1:2 ::ffff:0:0 51000 443\r\n");
}

TEST_CASE("IPv4-mapped addresses are written as IPv4") {
  const Addresses both{.source = mapped("192.0.2.1", 51000),
                       .destination = mapped("198.51.100.2", 443)};
  CHECK(v1(both) == v1(kV4));
  CHECK(v2(both, {}) == v2(kV4, {}));
  const Addresses one{.source = mapped("192.0.2.1", 51000), .destination = kV4.destination};
  CHECK(v1(one) == v1(kV4));
  CHECK(v2(one, {}) == v2(kV4, {}));
}

TEST_CASE("TLVs follow the addresses, or LOCAL at once") {
  const Tlvs tlvs{.authority = "App.Example.com", .unique_id = "17", .crc32c = false};
  const auto expected = join({tlv(2, bytes("App.Example.com")), tlv(5, bytes("17"))});
  CHECK(bytes(v2(kV4, tlvs)) == binary(kProxy, 0x11, join({addresses_v4(), expected})));
  CHECK(bytes(v2({}, tlvs)) == binary(kLocal, 0x00, expected));
  CHECK(bytes(v2({}, {.authority = ""})) == binary(kLocal, 0x00, tlv(2, {})));
}

TEST_CASE("the checksum is that of HAProxy") {
  // From peers_test.cpp: HAProxy's health check.
  CHECK(bytes(v2({}, {.crc32c = true})) == hex("0d0a0d0a000d0a515549540a20000007 030004a9b87e8f"));
}

TEST_CASE("what is written is read as it was") {
  const auto source = GENERATE("192.0.2.1", "2001:db8::1", "::", "0.0.0.0", "::192.0.2.1", "::1:2",
                               "64:ff9b::192.0.2.1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  const auto destination = GENERATE("198.51.100.2", "2001:db8::2", "::1");
  const auto port = GENERATE(std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{65535});
  Addresses addresses = between(source, destination);
  addresses.source = SocketAddress(addresses.source.ip(), port);
  CAPTURE(source, destination, port);
  CHECK(read(v1(addresses)).addresses == addresses);
  const std::string longest(255, 'a');
  const std::string longest_id(128, '1');
  for (const auto& authority : {std::optional<std::string_view>(), {"a.example"}, {longest}}) {
    for (const auto& unique_id : {std::optional<std::string_view>(), {""}, {longest_id}}) {
      for (const bool crc32c : {false, true}) {
        const auto written =
            v2(addresses, {.authority = authority, .unique_id = unique_id, .crc32c = crc32c});
        CHECK(written.size() < kSmallestSegment);
        const auto header = read(written);
        CHECK(header.addresses == addresses);
        CHECK(header.authority == authority.value_or(""));
        CHECK_FALSE(header.is_local);
      }
    }
  }
}

TEST_CASE("a header without addresses is read as one") {
  CHECK(read(v1({})) == Header{.size = 15});
  for (const bool crc32c : {false, true}) {
    const auto written = v2({}, {.authority = "a.example", .crc32c = crc32c});
    CHECK(read(written) == Header{.size = written.size(), .is_local = true});
  }
}
