// SPDX-License-Identifier: Apache-2.0
// Most tests here use expect(), which checks more than the result for one stream: every prefix of
// the stream and every way of waiting for the rest must agree with it.
#include "tls/client_hello.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "tls/limits.hpp"
#include "unit/tls/hello_builder.hpp"

using namespace mc::tls;
using namespace mc::tls::testing;

namespace {

constexpr std::string_view kTypicalAnswer = "app.example.com alpn=h2,http/1.1 versions=0303/0304";

std::string parse(const Bytes& stream) {
  ClientHelloParser parser;
  return describe(parser.parse(stream));
}

// The first `size` bytes, in memory that ends with them.
Bytes prefix_of(const Bytes& stream, std::size_t size) {
  return {stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(size)};
}

// Every length of a short stream; of a long one those near its ends and record boundaries, and
// some.
std::set<std::size_t> interesting_lengths(const Bytes& stream) {
  constexpr std::size_t kNear = 64;
  std::set<std::size_t> lengths;
  const auto add_around = [&](std::size_t at) {
    for (std::size_t i = at < kNear ? 0 : at - kNear; i <= std::min(at + kNear, stream.size());
         ++i) {
      lengths.insert(i);
    }
  };
  if (stream.size() <= 2048) {
    for (std::size_t i = 0; i <= stream.size(); ++i) lengths.insert(i);
    return lengths;
  }
  for (std::size_t i = 0; i < stream.size(); i += 997) lengths.insert(i);
  add_around(0);
  add_around(stream.size());
  std::size_t at = 0;
  for (int records = 0; records < 8 && at + 5 <= stream.size(); ++records) {
    at += 5 + (std::size_t{stream[at + 3]} << 8 | stream[at + 4]);
    if (at <= stream.size()) add_around(at);
  }
  return lengths;
}

// Reads only the bytes that the parser needs, until the result is final; returns the number of
// calls.
int calls_until_final(const Bytes& stream, std::string_view answer) {
  ClientHelloParser parser;
  std::size_t size = 0;
  for (int calls = 1;; ++calls) {
    const auto prefix = prefix_of(stream, size);
    const auto result = parser.parse(prefix);
    const auto* incomplete = std::get_if<Incomplete>(&result);
    if (incomplete == nullptr || size == stream.size()) {
      CHECK(describe(result) == answer);
      return calls;
    }
    REQUIRE(incomplete->needed > size);
    size = std::min(incomplete->needed, stream.size());
  }
}

// The whole stream has this result, and each prefix either has it too or is incomplete.
void expect(const Bytes& stream, std::string_view answer) {
  REQUIRE(parse(stream) == answer);
  ClientHelloParser parser;
  const bool is_hello = std::holds_alternative<ClientHello>(parser.parse(stream));
  for (const auto size : interesting_lengths(stream)) {
    const auto prefix = prefix_of(stream, size);
    const auto result = parser.parse(prefix);
    CAPTURE(size, describe(result));
    if (const auto* incomplete = std::get_if<Incomplete>(&result)) {
      REQUIRE(incomplete->needed > size);
      REQUIRE(incomplete->needed <= kHelloStreamMax);
      if (is_hello) REQUIRE(incomplete->needed <= stream.size());
    } else {
      REQUIRE(describe(result) == answer);
    }
  }
  calls_until_final(stream, answer);
}

// The message has this result in every cut into records.
void expect_however_cut(const Bytes& message, std::string_view answer) {
  for (const std::size_t payload_max : {16384, 1000, 100, 6}) {
    CAPTURE(payload_max);
    expect(in_records(message, payload_max), answer);
  }
  if (6 * message.size() <= kHelloStreamMax) expect(in_records(message, 1), answer);
  const std::size_t step = message.size() <= 4096 ? 1 : 331;
  const std::size_t first =
      message.size() > kRecordPayloadMax ? message.size() - kRecordPayloadMax : 1;
  for (auto cut = first; cut < std::min(message.size(), kRecordPayloadMax + 1); cut += step) {
    CAPTURE(cut);
    REQUIRE(parse(in_two_records(message, cut)) == answer);
  }
}

Bytes with_server_name_body(const Bytes& body) {
  return HelloBuilder().extension(0, body).stream();
}

Bytes with_name(std::string_view name) { return HelloBuilder().server_name(name).stream(); }

// A hello with a name and this one extension.
Bytes with_extension(std::size_t type, const Bytes& body) {
  return HelloBuilder().server_name("app.example.com").extension(type, body).stream();
}

constexpr std::string_view kPlainAnswer = "app.example.com alpn= versions=0303/0303";

}  // namespace

// ---- Good hellos ----

TEST_CASE("A hello gives its name, its protocols and its versions") {
  expect(typical_hello().stream(), kTypicalAnswer);
}

TEST_CASE("A hello is the same however it is cut into records") {
  expect_however_cut(typical_hello().message(), kTypicalAnswer);
}

TEST_CASE("A post-quantum hello of Chrome's size and shape is the same however it is cut") {
  const auto message = chrome_like_hello().message();
  CHECK(message.size() > 1600);
  expect_however_cut(message, "app.example.com alpn=h2,http/1.1 versions=0303/0304 ech");
}

TEST_CASE("Captured hellos of real clients are read as those clients meant them") {
  struct Captured {
    std::string_view file;
    std::string_view answer;
  };
  const auto captured = GENERATE(values<Captured>({
      {"real_cargo_post_quantum", "localhost alpn=h2,http/1.1 versions=0303/0304"},
      {"real_curl", "app.example.com alpn=h2,http/1.1 versions=0303/0304"},
      {"real_curl_to_ip_address", "no_sni"},
      {"real_git", "localhost alpn=h2,http/1.1 versions=0303/0304"},
      {"real_gnutls_tls10", "app.example.com alpn= versions=0301/0301"},
      {"real_gnutls_tls12", "app.example.com alpn=h2 versions=0303/0303"},
      {"real_gnutls_tls13", "app.example.com alpn= versions=0303/0304"},
      {"real_java17", "app.example.com alpn=h2,http/1.1 versions=0303/0304"},
      {"real_node18", "app.example.com alpn=h2,http/1.1 versions=0303/0304"},
      {"real_openssl3_acme_tls_alpn", "app.example.com alpn=acme-tls/1 versions=0303/0304"},
      {"real_openssl3_no_sni", "no_sni"},
      {"real_openssl3_tls10", "app.example.com alpn= versions=0301/0301"},
      {"real_openssl3_tls11", "app.example.com alpn= versions=0302/0302"},
      {"real_openssl3_tls12", "app.example.com alpn= versions=0303/0303"},
      {"real_openssl3_tls13", "app.example.com alpn=h2,http/1.1 versions=0303/0304"},
      {"real_openssl4_post_quantum", "app.example.com alpn=h2,http/1.1 versions=0303/0304"},
      {"real_python311", "app.example.com alpn=http/1.1 versions=0303/0304"},
      {"real_wget", "localhost alpn= versions=0303/0304"},
  }));
  CAPTURE(captured.file);
  const auto stream = corpus_file(captured.file);
  expect(stream, captured.answer);
  // Each of these came in one record.
  expect_however_cut({stream.begin() + 5, stream.end()}, captured.answer);
}

TEST_CASE("A hello that OpenSSL cut into records of 512 bytes is read whole") {
  std::string protocols = "h2";
  for (const char c : {'a', 'b', 'c', 'd', 'e'}) protocols += "," + std::string(240, c);
  expect(corpus_file("real_openssl3_records_of_512"),
         "app.example.com alpn=" + protocols + " versions=0303/0304");
}

TEST_CASE("A TLS 1.0 hello offers what its legacy version says") {
  expect(HelloBuilder().legacy_version(0x0301).server_name("app.example.com").stream(),
         "app.example.com alpn= versions=0301/0301");
}

TEST_CASE("The parser can be used again after any answer") {
  ClientHelloParser parser;
  const auto cut = in_records(typical_hello().message(), 7);
  const auto rejected = in_records(with_name(""), 7);
  for (int round = 0; round < 3; ++round) {
    CHECK(describe(parser.parse(cut)) == kTypicalAnswer);
    CHECK(describe(parser.parse(typical_hello("other.example").stream())) ==
          "other.example alpn=h2,http/1.1 versions=0303/0304");
    CHECK(describe(parser.parse(rejected)) == "malformed_handshake");
    CHECK(describe(parser.parse({})) == "incomplete 9");
  }
}

TEST_CASE("Nothing of one hello is left in the next") {
  const auto ending_in = [](std::string_view name) {
    return in_records(HelloBuilder().extension(35, Bytes(65'000)).server_name(name).message(),
                      1000);
  };
  const auto one = ending_in("one.example");
  const auto two = ending_in("two.example");
  ClientHelloParser parser;
  for (int round = 0; round < 3; ++round) {
    CHECK(describe(parser.parse(one)) == "one.example alpn= versions=0303/0303");
    CHECK(describe(parser.parse(two)) == "two.example alpn= versions=0303/0303");
  }
}

// ---- Streams and records ----

TEST_CASE("Half a hello is waited for, never taken for no match (tldr.fail, haproxy#3148)") {
  auto stream = chrome_like_hello().stream();
  const auto size = stream.size();
  stream.resize(size / 2);
  CHECK(parse(stream) == "incomplete " + std::to_string(size));
}

TEST_CASE("A server name across a record boundary is whole (CVE-2026-32305, sniproxy, HAProxy)") {
  const auto message = typical_hello("secret.internal.example").message();
  const auto name = bytes("secret.internal.example");
  const auto at = std::ranges::search(message, name).begin() - message.begin();
  for (std::size_t i = 0; i <= name.size(); ++i) {
    expect(in_two_records(message, static_cast<std::size_t>(at) + i),
           "secret.internal.example alpn=h2,http/1.1 versions=0303/0304");
  }
}

TEST_CASE("Sizes up to 64 KiB are read, in full records and in small ones") {
  const std::size_t size = GENERATE(4096, 16384, 16385, 61440, 65536);
  CAPTURE(size);
  const auto message = typical_hello().padded_to(size).message();
  REQUIRE(message.size() == size);
  expect_however_cut(message, kTypicalAnswer);
}

TEST_CASE("A byte more than 64 KiB is too large as soon as the handshake header says so") {
  auto stream = typical_hello().padded_to(kHelloMessageMax + 1).stream();
  expect(stream, "too_large");
  stream.resize(9);
  CHECK(parse(stream) == "too_large");
  expect(record({1, 0xff, 0xff, 0xff}), "too_large");
}

TEST_CASE("Records of one byte are read up to the limit of the stream") {
  const auto hello_of = [](std::size_t size) {
    return in_records(typical_hello().padded_to(size).message(), 1);
  };
  constexpr auto kSizeMax = kHelloStreamMax / 6;
  expect(hello_of(kSizeMax), kTypicalAnswer);
  expect(hello_of(kSizeMax + 1), "too_large");
}

TEST_CASE("A hello that cannot fit any more is too large before its bytes have come") {
  const auto message = typical_hello().padded_to(kHelloMessageMax).message();
  const auto stream = in_records(message, 1);
  // With k bytes here, the others need 65536 - k bytes and four headers more: k is at most 13103.
  CHECK(parse(prefix_of(stream, 6 * 13'103)).starts_with("incomplete "));
  CHECK(parse(prefix_of(stream, 6 * 13'103 + 5)) == "too_large");
  expect(stream, "too_large");
}

TEST_CASE("A client that sends what is asked for in one-byte records costs few calls") {
  const auto stream = in_records(typical_hello().padded_to(20'000).message(), 1);
  CHECK(calls_until_final(stream, kTypicalAnswer) < 100);
}

TEST_CASE("What is needed is the end of the record, then the fewest bytes for the rest") {
  CHECK(parse({}) == "incomplete 9");
  CHECK(parse({22}) == "incomplete 9");
  CHECK(parse({22, 3, 1, 0x02}) == "incomplete 9");
  CHECK(parse({22, 3, 1, 0x02, 0x00}) == "incomplete 517");
  CHECK(parse({22, 3, 1, 0x02, 0x00, 1, 0, 0x01}) == "incomplete 517");
  CHECK(parse({22, 3, 1, 0x02, 0x00, 1, 0, 0x01, 0xfc}) == "incomplete 517");
  // A message of 1000 + 4 bytes: 512 in this record, 492 in at least one more.
  CHECK(parse({22, 3, 1, 0x02, 0x00, 1, 0, 0x03, 0xe8}) == "incomplete 1014");
  // 64 KiB: 16384 bytes in this record and in three more.
  CHECK(parse({22, 3, 1, 0x40, 0x00, 1, 0, 0xff, 0xfc}) == "incomplete 65556");
  CHECK(parse({22, 3, 1, 0, 1, 1}) == "incomplete 14");
}

TEST_CASE("An oversized record is refused by its header (Traefik: 0xffff, 18433)") {
  for (const std::size_t size : {16385, 16640, 18432, 18433, 0xffff}) {
    CAPTURE(size);
    expect(join({{22, 3, 1}, u16(size)}), "malformed_record");
    expect(join({record(Bytes{1, 0, 1}), {22, 3, 1}, u16(size)}), "malformed_record");
  }
}

TEST_CASE("An empty handshake record is refused, also in the middle (RFC 8446 section 5.1)") {
  const auto message = typical_hello().message();
  expect(record({}), "malformed_record");
  expect(join({record({}), record(message)}), "malformed_record");
  const auto first = prefix_of(message, 50);
  const Bytes second(message.begin() + 50, message.end());
  expect(join({record(first), record({}), record(second)}), "malformed_record");
}

TEST_CASE("Another content type in the middle of the hello is refused (RFC 8446 section 5.1)") {
  const auto message = typical_hello().message();
  const auto first = prefix_of(message, 50);
  const Bytes second(message.begin() + 50, message.end());
  for (const std::uint8_t type : {20, 21, 23, 24, 0, 255}) {
    CAPTURE(type);
    expect(join({record(first), record({1, 0}, type), record(second)}), "malformed_record");
    // That byte is enough to know.
    CHECK(parse(join({record(first), {type}})) == "malformed_record");
  }
}

TEST_CASE("Records of every version with the major number 3 are read, of no other") {
  const auto message = typical_hello().message();
  for (const std::uint16_t version : {0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0305, 0x03ff}) {
    CAPTURE(version);
    expect(record(message, 22, version), kTypicalAnswer);
  }
  for (const std::uint16_t version : {0x0200, 0x0002, 0x0401, 0xfeff}) {
    CAPTURE(version);
    expect(record(message, 22, version), "malformed_record");
  }
}

TEST_CASE("Another handshake message than ClientHello is refused by its first byte") {
  for (const std::uint8_t type : {0, 2, 11, 16, 20, 254}) {
    CAPTURE(type);
    expect(record(handshake(typical_hello().body(), type)), "malformed_handshake");
    CHECK(parse({22, 3, 1, 2, 0, type}) == "malformed_handshake");
  }
}

TEST_CASE("What follows in further records is not looked at: early data, or anything") {
  const auto hello = typical_hello().stream();
  expect(join({hello, record({1}, 20, 0x0303), record(Bytes(500, 7), 23, 0x0303)}), kTypicalAnswer);
  expect(join({hello, bytes("GET / HTTP/1.1\r\n")}), kTypicalAnswer);
  expect(join({hello, {0}}), kTypicalAnswer);
  expect(join({hello, hello}), kTypicalAnswer);
}

TEST_CASE("A hello that does not end with its record is refused (RFC 8446 section 5.1)") {
  const auto message = typical_hello().message();
  expect(record(join({message, {0}})), "malformed_handshake");
  expect(record(join({message, message})), "malformed_handshake");
  const auto first = prefix_of(message, 50);
  const Bytes second(message.begin() + 50, message.end());
  expect(join({record(first), record(join({second, {0}}))}), "malformed_handshake");
  // The headers alone prove it.
  CHECK(parse({22, 3, 1, 0x02, 0x00, 1, 0, 0x01, 0xfb}) == "malformed_handshake");
}

// ---- Not TLS ----

TEST_CASE("Other protocols are not TLS from their first byte") {
  for (const auto* text :
       {"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n", "EHLO x\r\n"}) {
    CAPTURE(text);
    expect(bytes(text), "not_tls");
    CHECK(parse({static_cast<std::uint8_t>(text[0])}) == "not_tls");
  }
  for (const std::uint8_t type : {0, 20, 21, 23, 24, 127}) {
    expect(record(typical_hello().message(), type), "not_tls");
  }
}

TEST_CASE("An SSLv2 hello is told from other protocols") {
  expect({0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15}, "sslv2");
  expect({0x80, 0x2e, 0x01, 0x03, 0x01, 0x00, 0x15}, "sslv2");
  expect({0x80, 0x2e, 0x01, 0x03, 0x03, 0x00, 0x15}, "sslv2");
  CHECK(parse({0x80}) == "incomplete 5");
  CHECK(parse({0x80, 0x2e, 0x01, 0x03}) == "incomplete 5");
}

TEST_CASE("A high first bit alone does not make SSLv2") {
  expect({0x80, 0x2e, 0x02, 0x03, 0x01}, "not_tls");
  expect({0x80, 0x2e, 0x01, 0x03, 0x05}, "not_tls");
  expect({0x80, 0x2e, 0x01, 0x01, 0x00}, "not_tls");
  expect({0xff, 0xff, 0xff}, "not_tls");
}

// ---- The fields of the message ----

TEST_CASE("A hello of another major version is refused") {
  expect(typical_hello().legacy_version(0x0200).stream(), "malformed_handshake");
  expect(typical_hello().legacy_version(0x02ff).stream(), "malformed_handshake");
  expect(typical_hello().legacy_version(0x0300).stream(),
         "app.example.com alpn=h2,http/1.1 versions=0300/0304");
}

TEST_CASE("A session id has up to 32 bytes") {
  expect(typical_hello().session_id({}).stream(), kTypicalAnswer);
  expect(typical_hello().session_id(Bytes(32)).stream(), kTypicalAnswer);
  expect(typical_hello().session_id(Bytes(33)).stream(), "malformed_handshake");
  expect(typical_hello().session_id(Bytes(255)).stream(), "malformed_handshake");
}

TEST_CASE("There is a cipher suite, and no half of one") {
  expect(typical_hello().cipher_suites({0x13, 0x01}).stream(), kTypicalAnswer);
  expect(typical_hello().cipher_suites({}).stream(), "malformed_handshake");
  expect(typical_hello().cipher_suites({0x13}).stream(), "malformed_handshake");
  expect(typical_hello().cipher_suites({0x13, 0x01, 0x13}).stream(), "malformed_handshake");
}

TEST_CASE("There is a compression method") {
  expect(typical_hello().compression_methods({1, 0}).stream(), kTypicalAnswer);
  expect(typical_hello().compression_methods({}).stream(), "malformed_handshake");
}

TEST_CASE("A message that ends within a field is refused, wherever it ends") {
  const auto body = typical_hello().body();
  const auto fields = HelloBuilder().no_extension_block().body().size();
  for (std::size_t size = 0; size < body.size(); ++size) {
    CAPTURE(size);
    const auto cut = prefix_of(body, size);
    const auto* answer = size < fields    ? "malformed_handshake"
                         : size == fields ? "no_sni"
                                          : "malformed_extension";
    CHECK(parse(record(handshake(cut))) == answer);
  }
}

TEST_CASE("Bytes after the extension block are refused") {
  expect(record(handshake(join({typical_hello().body(), {0}}))), "malformed_extension");
}

TEST_CASE("A well-formed hello without a name has no SNI") {
  expect(HelloBuilder().no_extension_block().stream(), "no_sni");
  expect(HelloBuilder().no_extension_block().legacy_version(0x0300).stream(), "no_sni");
  expect(HelloBuilder().stream(), "no_sni");
  expect(HelloBuilder().alpn({"h2"}).supported_versions({0x0304}).stream(), "no_sni");
}

// ---- Extensions ----

TEST_CASE("An extension past the end of the block is refused") {
  const auto with_block = [](const Bytes& block) {
    return record(handshake(join({HelloBuilder().no_extension_block().body(), vector16(block)})));
  };
  expect(with_block({0}), "malformed_extension");
  expect(with_block({0, 23}), "malformed_extension");
  expect(with_block({0, 23, 0}), "malformed_extension");
  expect(with_block({0, 23, 0, 1}), "malformed_extension");
  expect(with_block({0, 23, 0xff, 0xff, 0, 0}), "malformed_extension");
  expect(with_block({0, 23, 0, 0}), "no_sni");
}

TEST_CASE("An extension type twice is refused, whichever it is (RFC 8446 section 4.2)") {
  for (const std::size_t type : {1, 23, 63, 64, 127, 0x0a0a, 0x8000, 0xff01, 0xffff}) {
    CAPTURE(type);
    const auto once = HelloBuilder().extension(type).server_name("app.example.com");
    expect(once.stream(), kPlainAnswer);
    expect(HelloBuilder(once).extension(type).stream(), "malformed_extension");
  }
  expect(typical_hello().server_name("app.example.com").stream(), "malformed_extension");
  expect(typical_hello().alpn({"h2"}).stream(), "malformed_extension");
  expect(typical_hello().supported_versions({0x0304}).stream(), "malformed_extension");
}

TEST_CASE("The number of extensions has no limit of its own (renaudallard: 64)") {
  // As many as fit: 16 K of them, each of four bytes, besides a name at the very end.
  HelloBuilder hello;
  constexpr std::size_t kFirst = 100;
  for (std::size_t type = kFirst; type < kFirst + 16'340; ++type) hello.extension(type);
  CHECK(HelloBuilder(hello).message().size() > 65'400);
  expect(HelloBuilder(hello).server_name("app.example.com").stream(), kPlainAnswer);
  expect(HelloBuilder(hello).extension(kFirst).stream(), "malformed_extension");
}

TEST_CASE("An extension may be larger than 4 KiB, and the name may be the last thing in 64 KiB") {
  const auto rest = HelloBuilder().extension(35).server_name("app.example.com").message().size();
  const auto message = HelloBuilder()
                           .extension(35, Bytes(kHelloMessageMax - rest))
                           .server_name("app.example.com")
                           .message();
  REQUIRE(message.size() == kHelloMessageMax);
  expect_however_cut(message, kPlainAnswer);
}

TEST_CASE("GREASE changes nothing (RFC 8701)") {
  expect(HelloBuilder()
             .cipher_suites({0x2a, 0x2a, 0x13, 0x01})
             .extension(0x0a0a)
             .server_name("app.example.com")
             .supported_versions({0xfafa, 0x0304})
             .alpn({"\x1a\x1a", "h2"})
             .extension(0xeaea, {0})
             .stream(),
         "app.example.com alpn=\x1a\x1a,h2 versions=0303/0304");
}

// ---- The server name ----

TEST_CASE("A name is normalised: case and one trailing dot") {
  expect(with_name("APP.Example.COM"), kPlainAnswer);
  expect(with_name("app.example.com."), kPlainAnswer);
  expect(with_name("app.example.com.."), "name_invalid");
}

TEST_CASE("An IP address is not a server name (RFC 6066 section 3)") {
  for (const auto* name : {"192.0.2.1", "::1", "2001:db8::1", "[2001:db8::1]"}) {
    expect(with_name(name), "name_invalid");
  }
}

TEST_CASE("A name that is no host name is invalid, never no name at all") {
  using namespace std::string_view_literals;
  for (const auto name : {""sv, "."sv, "a\0b.example"sv, "a b.example"sv, "*.example.com"sv,
                          "a..b"sv, "\xc3\xa4.example"sv, "a.example:443"sv, "a/b"sv, "a\r\nb"sv}) {
    CAPTURE(name);
    expect(with_name(name), "name_invalid");
  }
}

TEST_CASE("A name has up to 253 characters in labels of up to 63 (CVE-2023-25076)") {
  const auto label = std::string(61, 'a') + ".";
  const auto longest = label + label + label + label + "abcde";
  REQUIRE(longest.size() == 253);
  expect(with_name(longest), longest + " alpn= versions=0303/0303");
  expect(with_name(longest + "."), longest + " alpn= versions=0303/0303");
  expect(with_name(longest + "f"), "name_invalid");
  expect(with_name(longest + "f."), "name_invalid");
  expect(with_name(longest + "fg"), "name_invalid");
  expect(with_name(std::string(64, 'a') + ".example"), "name_invalid");
  expect(with_name(std::string(60'000, 'a')), "name_invalid");
}

TEST_CASE("A name longer than its list, extension or block is refused (HAProxy ed267f9bc)") {
  const auto good = server_name_body("app.example.com");
  for (std::size_t at = 0; at < 5; ++at) {
    if (at == 2) continue;  // The type.
    for (const std::uint8_t change : {1, 0x7f, 0xff}) {
      CAPTURE(at, change);
      auto body = good;
      body[at] = static_cast<std::uint8_t>(body[at] + change);
      expect(with_server_name_body(body), "malformed_extension");
    }
  }
  expect(with_server_name_body({0, 4, 0, 0xff, 0xff, 'a'}), "malformed_extension");
}

TEST_CASE("A server name list that is cut short or overlong is refused (tlsfuzzer)") {
  const auto good = server_name_body("app.example.com");
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    const auto cut = prefix_of(good, size);
    CHECK(parse(with_server_name_body(cut)) == "malformed_extension");
  }
  expect(with_server_name_body(join({good, {0}})), "malformed_extension");
  expect(with_server_name_body({}), "malformed_extension");
  expect(with_server_name_body({0, 0}), "malformed_extension");
}

TEST_CASE("Two server names are refused, also if they are the same (RFC 6066 section 3)") {
  const auto entry = [](std::string_view name) { return join({{0}, vector16(bytes(name))}); };
  expect(with_server_name_body(vector16(join({entry("a.example"), entry("b.example")}))),
         "malformed_extension");
  expect(with_server_name_body(vector16(join({entry("a.example"), entry("a.example")}))),
         "malformed_extension");
}

TEST_CASE("A name type other than host_name is refused, alone or beside one") {
  expect(with_server_name_body(server_name_body("app.example.com", 1)), "malformed_extension");
  const auto host = join({{0}, vector16(bytes("a.example"))});
  const auto other = join({{7}, vector16(bytes("a.example"))});
  expect(with_server_name_body(vector16(join({host, other}))), "malformed_extension");
  expect(with_server_name_body(vector16(join({other, host}))), "malformed_extension");
}

TEST_CASE("What is malformed is called so even where the name is invalid or missing") {
  expect(HelloBuilder().server_name("a b").extension(16, {0}).stream(), "malformed_extension");
  expect(HelloBuilder().extension(16, {0}).stream(), "malformed_extension");
}

// ---- ALPN, versions, ECH ----

TEST_CASE("The protocols are seen as offered, acme-tls/1 among them (traefik#10684)") {
  expect(HelloBuilder().server_name("app.example.com").alpn({"acme-tls/1"}).stream(),
         "app.example.com alpn=acme-tls/1 versions=0303/0303");
  const std::string longest(255, 'p');
  expect(HelloBuilder().server_name("app.example.com").alpn({"a", longest, "h2"}).stream(),
         "app.example.com alpn=a," + longest + ",h2 versions=0303/0303");
}

TEST_CASE("A malformed ALPN list is refused") {
  for (const auto& body : {Bytes{}, Bytes{0}, Bytes{0, 0}, Bytes{0, 1, 0}, Bytes{0, 2, 1, 'a', 0},
                           Bytes{0, 3, 1, 'a', 0}, Bytes{0, 2, 2, 'h'}, Bytes{0, 3, 1, 'a'},
                           Bytes{0, 4, 1, 'a', 0, 0}, Bytes{0xff, 0xff, 1, 'a'}}) {
    CAPTURE(body);
    expect(with_extension(16, body), "malformed_extension");
  }
}

TEST_CASE("The highest version is that of supported_versions, if it is there") {
  const auto with_versions = [](std::initializer_list<std::uint16_t> versions) {
    return HelloBuilder().server_name("app.example.com").supported_versions(versions).stream();
  };
  expect(with_versions({0x0303, 0x0304, 0x0302}), "app.example.com alpn= versions=0303/0304");
  expect(with_versions({0x0303}), "app.example.com alpn= versions=0303/0303");
  expect(with_versions({0x7f1c, 0xfafa, 0xfefd}), "app.example.com alpn= versions=0303/0000");
}

TEST_CASE("A malformed list of versions is refused") {
  for (const auto& body : {Bytes{}, Bytes{0}, Bytes{1, 3}, Bytes{3, 3, 4, 3}, Bytes{2, 3},
                           Bytes{2, 3, 4, 0}, Bytes{4, 3, 4}}) {
    CAPTURE(body);
    expect(with_extension(43, body), "malformed_extension");
  }
}

TEST_CASE("With ECH the outer name counts, and ECH is reported") {
  expect(with_extension(0xfe0d, Bytes(200, 1)), "app.example.com alpn= versions=0303/0303 ech");
  expect(HelloBuilder().extension(0xfe0d, {1}).stream(), "no_sni");
}

TEST_CASE("An ALPN list can be walked as a range") {
  const Bytes names = {2, 'h', '2', 3, 'f', 'o', 'o'};
  const auto list = AlpnList::from(names);
  REQUIRE(list);
  CHECK_FALSE(list->empty());
  CHECK(std::ranges::distance(*list) == 2);
  CHECK(std::ranges::find(*list, "foo") != list->end());
  CHECK(std::ranges::find(*list, "fo") == list->end());
  CHECK(AlpnList().empty());
  CHECK(AlpnList().begin() == AlpnList().end());
}

TEST_CASE("Every reject has its own name for logs and counters") {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kRejectCount; ++i) names.insert(to_string(static_cast<Reject>(i)));
  CHECK(names.size() == kRejectCount);
  CHECK_FALSE(names.contains("unknown"));
}
