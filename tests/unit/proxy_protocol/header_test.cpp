// SPDX-License-Identifier: Apache-2.0
// Most tests here use expect(), which checks more than the result for one stream: every part of the
// stream, what follows it and every way of waiting for the rest must agree with it.
#include "proxy_protocol/header.hpp"

#include <string>

#include "support/catch.hpp"
#include "unit/proxy_protocol/header_builder.hpp"

using namespace mc::proxy_protocol;
using namespace mc::proxy_protocol::testing;

namespace {

constexpr std::uint8_t kUnspecified = 0x00;
constexpr std::uint8_t kTcp4 = 0x11;
constexpr std::uint8_t kTcp6 = 0x21;
constexpr std::uint8_t kUnix = 0x31;

constexpr std::uint8_t kAuthority = 2;
constexpr std::uint8_t kCrc32c = 3;
constexpr std::uint8_t kNoop = 4;
constexpr std::uint8_t kUniqueId = 5;

void expect_line(std::string_view line, std::string_view result) {
  CAPTURE(std::string(line));
  expect(bytes(line), result);
}

// A header with IPv4 addresses and these TLVs.
Bytes with_tlvs(const Bytes& tlvs) { return binary(kProxy, kTcp4, join({addresses_v4(), tlvs})); }

std::string of_size(std::size_t size) {
  return "192.0.2.1:51000 > 198.51.100.2:443, " + std::to_string(size) + " bytes";
}

std::size_t needed(const Bytes& stream) { return std::get<Incomplete>(parse(stream)).needed; }

}  // namespace

// ---- Version 1 ----

TEST_CASE("a line names the client") {
  expect_line("PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n", of_size(45));
  expect_line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
              "255.255.255.255:65535 > 255.255.255.255:65535, 56 bytes");
  expect_line("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0 > 0.0.0.0:0, 32 bytes");
  expect_line("PROXY TCP6 :: :: 0 0\r\n", "[::]:0 > [::]:0, 22 bytes");
  expect_line("PROXY TCP6 2001:DB8::1 2001:db8:0:0:0:0:0:2 51000 443\r\n",
              "[2001:db8::1]:51000 > [2001:db8::2]:443, 55 bytes");
  const std::string longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  const std::string end = "[" + longest + "]:65535";
  expect_line("PROXY TCP6 " + longest + " " + longest + " 65535 65535\r\n",
              end + " > " + end + ", 104 bytes");
}

TEST_CASE("an IPv4-mapped address in a line is IPv4") {
  expect_line("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 51000 443\r\n", of_size(56));
  expect_line("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 51000 443\r\n",
              "192.0.2.1:51000 > [2001:db8::2]:443, 51 bytes");
}

TEST_CASE("a line of an unknown protocol says nothing, whatever else it contains") {
  expect_line("PROXY UNKNOWN\r\n", "the peer, 15 bytes");
  expect_line("PROXY UNKNOWN \r\n", "the peer, 16 bytes");
  expect_line("PROXY UNKNOWN a  b \t c\r\n", "the peer, 24 bytes");
  expect_line("PROXY UNKNOWN 192.0.2.1 198.51.100.2 51000 443\r\n", "the peer, 48 bytes");
  expect(join({bytes("PROXY UNKNOWN "), hex("00ff1603"), bytes("\r\n")}), "the peer, 20 bytes");
  expect_line("PROXY UNKNOWNS\r\n", "unsupported address family");
  expect_line("PROXY UNKNOWN\n", "unsupported address family");
  expect_line("PROXY UNKNOWN\rx", "malformed line");
  expect_line("PROXY UNKNOWN x\rx\r\n", "malformed line");
}

TEST_CASE("a line of 107 bytes is the longest") {
  const std::string start = "PROXY UNKNOWN ";
  expect_line(start + std::string(107 - 2 - start.size(), 'x') + "\r\n", "the peer, 107 bytes");
  expect_line(start + std::string(108 - 2 - start.size(), 'x') + "\r\n", "header too long");
  expect_line(start + std::string(200, 'x'), "header too long");
  expect_line(start + std::string(107 - 1 - start.size(), 'x') + "\n", "header too long");
  expect_line("PROXY TCP4 " + std::string(200, '1'), "header too long");
  // Nothing that can follow would make a header of so much.
  expect_line(start + std::string(106 - start.size(), 'x'), "header too long");
  expect_line(start + std::string(105 - start.size(), 'x'), "incomplete");
}

TEST_CASE("a line ends with CR and LF and nothing else") {
  for (const std::string end : {"\n", "\r", "\rx\r\n", "\r\r\n", "\n\r", " \n"}) {
    CAPTURE(end);
    const auto line = "PROXY TCP4 192.0.2.1 198.51.100.2 51000 443" + end;
    expect_line(line + (end == "\r" ? " " : ""), "malformed line");
  }
  expect_line("PROXY TCP4 192.0.2.1\r\n198.51.100.2 51000 443\r\n", "malformed line");
}

TEST_CASE("the fields of a line are four with one space between") {
  for (const std::string_view line : {
           "PROXY TCP4 192.0.2.1 198.51.100.2 51000\r\n",
           "PROXY TCP4 192.0.2.1 198.51.100.2 51000 \r\n",
           "PROXY TCP4 192.0.2.1 198.51.100.2 51000 443 \r\n",
           "PROXY TCP4 192.0.2.1 198.51.100.2 51000 443 1\r\n",
           "PROXY TCP4 192.0.2.1 198.51.100.2  51000 443\r\n",
           "PROXY TCP4  192.0.2.1 198.51.100.2 51000 443\r\n",
           "PROXY TCP4 \r\n",
           "PROXY TCP4    \r\n",
       }) {
    expect_line(line, "malformed line");
  }
  expect_line("PROXY TCP4\t192.0.2.1 198.51.100.2 51000 443\r\n", "unsupported address family");
  expect_line("PROXY TCP4 192.0.2.1\t198.51.100.2 51000 443 1\r\n", "wrong addresses");
  expect_line("PROXY TCP4\r\n", "unsupported address family");
  expect_line("PROXY TCP5 192.0.2.1 198.51.100.2 51000 443\r\n", "unsupported address family");
  expect_line("PROXY UDP4 192.0.2.1 198.51.100.2 51000 443\r\n", "unsupported address family");
  expect_line("PROXY tcp4 192.0.2.1 198.51.100.2 51000 443\r\n", "unsupported address family");
  expect_line("PROXY  TCP4 192.0.2.1 198.51.100.2 51000 443\r\n", "unsupported address family");
}

TEST_CASE("addresses in a line have one text only, and that of its protocol") {
  for (const std::string_view address :
       {"192.0.2.01", "192.0.2", "192.0.2.1.1", "192.0.2.256", "0xc0000201", "3221225985", "::1",
        "::ffff:192.0.2.1", "a.example", "192.0.2.1%eth0", "+1.0.0.1"}) {
    expect_line("PROXY TCP4 " + std::string(address) + " 198.51.100.2 51000 443\r\n",
                "wrong addresses");
    expect_line("PROXY TCP4 198.51.100.2 " + std::string(address) + " 51000 443\r\n",
                "wrong addresses");
  }
  for (const std::string_view address :
       {"192.0.2.1", "::192.0.2.1", "64:ff9b::192.0.2.1", "::ffff:192.0.2.01", "fe80::1%eth0",
        "fe80::1%1", "[::1]", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3",
        "12345::", ":::", "g::"}) {
    expect_line("PROXY TCP6 " + std::string(address) + " 2001:db8::2 51000 443\r\n",
                "wrong addresses");
    expect_line("PROXY TCP6 2001:db8::2 " + std::string(address) + " 51000 443\r\n",
                "wrong addresses");
  }
  const std::string nul("PROXY TCP4 192.0.2.1\0 198.51.100.2 51000 443\r\n", 46);
  expect_line(nul, "wrong addresses");
}

TEST_CASE("ports in a line are 0 to 65535 without leading zeros") {
  for (const std::string port :
       {"65536", "00", "01", "0443", "+1", "-1", "1x", "x", "0x1bb", "18446744073709551617"}) {
    expect_line("PROXY TCP4 192.0.2.1 198.51.100.2 " + port + " 443\r\n", "wrong addresses");
    expect_line("PROXY TCP4 192.0.2.1 198.51.100.2 443 " + port + "\r\n", "wrong addresses");
  }
}

TEST_CASE("a line without its end is waited for in useful steps") {
  CHECK(needed({}) == kShortestHeader);
  CHECK(needed(bytes("P")) == 15);
  CHECK(needed(bytes("PROXY U")) == 15);
  CHECK(needed(bytes("PROXY UNKNOWN")) == 15);
  CHECK(needed(bytes("PROXY UNKNOWN\r")) == 15);
  CHECK(needed(bytes("PROXY UNKNOWN ")) == 16);
  CHECK(needed(bytes("PROXY T")) == 22);
  CHECK(needed(bytes("PROXY TCP4")) == 32);
  CHECK(needed(bytes("PROXY TCP4 192.0.2.1 198.51.100.2 51000 443")) == 45);
  CHECK(needed(bytes("PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r")) == 45);
  expect_line("PROXY TCP4 192.0.2.1 198.51.100.2 51000 443", "incomplete");
}

// ---- Version 2 ----

TEST_CASE("a binary header names the client") {
  expect(binary(kProxy, kTcp4, addresses_v4()), of_size(28));
  expect(binary(kProxy, kTcp6, addresses_v6()),
         "[2001:db8::1]:51000 > [2001:db8::2]:443, 52 bytes");
}

TEST_CASE("an IPv4-mapped address in a binary header is IPv4") {
  expect(binary(kProxy, kTcp6,
                hex("00000000 00000000 0000ffff c0000201 00000000 00000000 0000ffff c6336402"
                    "c738 01bb")),
         of_size(52));
}

TEST_CASE("the length of LOCAL is skipped, whatever it holds") {
  expect(binary(kLocal, kUnspecified, {}), "local, 16 bytes");
  expect(binary(kLocal, kTcp4, {}), "local, 16 bytes");
  expect(binary(kLocal, kTcp4, addresses_v4()), "local, 28 bytes");
  expect(binary(kLocal, 0xff, hex("01")), "local, 17 bytes");
  expect(binary(kLocal, kUnspecified, tlv(kCrc32c, hex("00000000"))), "local, 23 bytes");
  expect(binary(kLocal, kUnspecified, tlv(kAuthority, bytes("a.example"))), "local, 28 bytes");
  expect(binary(kLocal, kUnspecified, hex("0200ff")), "local, 19 bytes");
}

TEST_CASE("unspecified and Unix addresses leave the peer as the client") {
  expect(binary(kProxy, kUnspecified, {}), "the peer, 16 bytes");
  expect(binary(kProxy, kUnix, Bytes(216, 'x')), "the peer, 232 bytes");
  expect(binary(kProxy, kUnix, Bytes(215, 'x')), "wrong addresses");
  const auto authority = tlv(kAuthority, bytes("a.example"));
  expect(binary(kProxy, kUnspecified, authority), "the peer for a.example, 28 bytes");
  expect(binary(kProxy, kUnix, join({Bytes(216, 'x'), authority})),
         "the peer for a.example, 244 bytes");
  expect(binary(kProxy, kUnspecified, tlv(kCrc32c, hex("00000000"))), "wrong checksum");
  expect(binary(kProxy, kUnspecified, hex("0200")), "malformed TLV");
}

TEST_CASE("every other family is refused") {
  for (int family = 0; family < 256; ++family) {
    if (family == kUnspecified || family == kTcp4 || family == kTcp6 || family == kUnix) continue;
    CAPTURE(family);
    expect(binary(kProxy, static_cast<std::uint8_t>(family), Bytes(216, 0)),
           "unsupported address family");
  }
}

TEST_CASE("every other version and command is refused") {
  for (int both = 0; both < 256; ++both) {
    if (both == kLocal || both == kProxy) continue;
    CAPTURE(both);
    expect(binary(static_cast<std::uint8_t>(both), kTcp4, addresses_v4()),
           both >> 4 == 2 ? "unknown command" : "unknown version");
  }
}

TEST_CASE("a length without room for the addresses is refused, one with more holds TLVs") {
  expect(binary_of_length(kProxy, kTcp4, 11, addresses_v4()), "wrong addresses");
  expect(binary_of_length(kProxy, kTcp4, 0, {}), "wrong addresses");
  expect(binary_of_length(kProxy, kTcp6, 35, addresses_v6()), "wrong addresses");
  expect(binary_of_length(kProxy, kTcp4, 13, join({addresses_v4(), hex("04")})), "malformed TLV");
  expect(with_tlvs(tlv(kNoop, {})), of_size(31));
  // Its TLVs, not a client's first bytes.
  expect(binary(kProxy, kTcp4, addresses_v6()), "malformed TLV");
}

TEST_CASE("a header of 16 KiB is the longest") {
  const auto of_total = [](std::size_t size) { return with_tlvs(tlv(kNoop, Bytes(size - 31, 0))); };
  CHECK(describe(parse(of_total(kHeaderBytesMax))) == of_size(kHeaderBytesMax));
  CHECK(describe(parse(prefix_of(of_total(kHeaderBytesMax), kHeaderBytesMax - 1))) == "incomplete");
  expect(prefix_of(of_total(kHeaderBytesMax + 1), 16), "header too long");
  expect(binary_of_length(kLocal, kUnspecified, 0xffff, {}), "header too long");
}

TEST_CASE("TLVs add up") {
  expect(with_tlvs(join({tlv(kNoop, {}), tlv(0xe0, bytes("custom")), tlv(0xff, {})})),
         of_size(28 + 3 + 9 + 3));
  expect(with_tlvs(hex("04")), "malformed TLV");
  expect(with_tlvs(hex("0400")), "malformed TLV");
  expect(with_tlvs(hex("040001")), "malformed TLV");
  expect(with_tlvs(hex("04000200")), "malformed TLV");
  expect(with_tlvs(hex("04ffff00")), "malformed TLV");
  expect(with_tlvs(hex("0400000400")), "malformed TLV");
}

TEST_CASE("an authority is any bytes, of which 255 are kept") {
  const auto authority = [](const Bytes& value) {
    return std::get<Header>(parse(with_tlvs(tlv(kAuthority, value)))).authority;
  };
  CHECK(authority(bytes("App.Example.com")) == "App.Example.com");
  CHECK(authority(hex("00ff0a")) == std::string("\x00\xff\n", 3));
  CHECK(authority({}).empty());
  CHECK(authority(Bytes(255, 'a')) == std::string(255, 'a'));
  CHECK(authority(Bytes(256, 'a')) == std::string(255, 'a'));
  expect(
      with_tlvs(join({tlv(kAuthority, bytes("a.example")), tlv(kAuthority, bytes("b.example"))})),
      "192.0.2.1:51000 > 198.51.100.2:443 for b.example, 52 bytes");
}

TEST_CASE("a unique id has 128 bytes at most") {
  expect(with_tlvs(tlv(kUniqueId, {})), of_size(31));
  expect(with_tlvs(tlv(kUniqueId, Bytes(128, 7))), of_size(31 + 128));
  expect(with_tlvs(tlv(kUniqueId, Bytes(129, 7))), "malformed TLV");
}

TEST_CASE("a checksum is verified over the whole header") {
  const auto right =
      with_tlvs(join({tlv(kCrc32c, hex("c390e33e")), tlv(kAuthority, bytes("a.example"))}));
  expect(right, "192.0.2.1:51000 > 198.51.100.2:443 for a.example, 47 bytes");
  for (std::size_t at = 16; at < right.size(); ++at) {
    const bool is_structure = at == 28 || at == 29 || at == 30 || at == 35 || at == 36 || at == 37;
    for (int bit = 0; bit < 8; ++bit) {
      auto wrong = right;
      wrong[at] = static_cast<std::uint8_t>(wrong[at] ^ (1 << bit));
      CAPTURE(at, bit);
      const auto parsed = parse(wrong);
      // A length or a type may be wrong in other ways; without its type there is no checksum.
      if (!is_structure) CHECK(describe(parsed) == "wrong checksum");
    }
  }
}

TEST_CASE("there is one checksum of four bytes") {
  expect(with_tlvs(tlv(kCrc32c, hex("000000"))), "malformed TLV");
  expect(with_tlvs(tlv(kCrc32c, hex("0000000000"))), "malformed TLV");
  expect(with_tlvs(tlv(kCrc32c, {})), "malformed TLV");
  expect(with_tlvs(join({tlv(kCrc32c, hex("00000000")), tlv(kCrc32c, hex("00000000"))})),
         "malformed TLV");
}

TEST_CASE("a binary header is waited for in two steps") {
  const auto header = with_tlvs(tlv(kNoop, Bytes(100, 0)));
  CHECK(needed(prefix_of(header, 1)) == 16);
  CHECK(needed(prefix_of(header, 15)) == 16);
  CHECK(needed(prefix_of(header, 16)) == header.size());
  CHECK(needed(prefix_of(header, header.size() - 1)) == header.size());
}

// ---- Anything else ----

TEST_CASE("what is no header is refused at its first wrong byte") {
  expect(hex("16"), "no PROXY header");
  expect(hex("16030102000100"), "no PROXY header");
  expect(bytes("GET / HTTP/1.1\r\n"), "no PROXY header");
  expect(bytes("POST"), "no PROXY header");
  expect(bytes("PO"), "no PROXY header");
  expect(bytes("PROXY\r\n"), "no PROXY header");
  expect(bytes("proxy TCP4 "), "no PROXY header");
  expect(bytes(" PROXY TCP4 "), "no PROXY header");
  expect(bytes("\r\n\r\nx"), "no PROXY header");
  expect(hex("0d0a0d0a 000d0a51 5549540b"), "no PROXY header");
  expect(hex("0d0d"), "no PROXY header");
  expect(hex("00"), "no PROXY header");
  expect({}, "incomplete");
}

TEST_CASE("of two headers only the first is taken") {
  const auto line = bytes("PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n");
  const auto header = binary(kProxy, kTcp4, addresses_v4());
  const auto local = binary(kLocal, kTcp4, addresses_v4());
  expect(join({line, line}), of_size(45));
  expect(join({line, header}), of_size(45));
  expect(join({header, header}), of_size(28));
  expect(join({header, line}), of_size(28));
  expect(join({local, header}), "local, 28 bytes");
}
