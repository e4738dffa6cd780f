// SPDX-License-Identifier: Apache-2.0
#include "tls/check_hello.hpp"

#include <numeric>
#include <string>

#include "support/catch.hpp"
#include "tls/byte_reader.hpp"
#include "unit/tls/hello_builder.hpp"

using namespace mc::tls;
using namespace mc::tls::testing;

namespace {

HelloRandoms counting_randoms() {
  HelloRandoms randoms{};
  std::iota(randoms.random.begin(), randoms.random.end(), std::uint8_t{0});
  std::iota(randoms.session_id.begin(), randoms.session_id.end(), std::uint8_t{32});
  std::iota(randoms.key_share.begin(), randoms.key_share.end(), std::uint8_t{64});
  return randoms;
}

// The body of the extension; empty if the hello has none of this type.
Bytes extension_of(const Bytes& hello, std::uint16_t wanted) {
  ByteReader reader(hello);
  reader.bytes(5 + 4 + 2 + 32);
  reader.vector8();
  reader.vector16();
  reader.vector8();
  auto block = reader.vector16();
  REQUIRE(reader.finished());
  while (!block.empty()) {
    const auto type = block.u16();
    const auto body = block.vector16().rest();
    if (type == wanted) return {body.begin(), body.end()};
  }
  return {};
}

template <std::size_t n>
Bytes bytes_of(const std::array<std::uint8_t, n>& array) {
  return {array.begin(), array.end()};
}

}  // namespace

TEST_CASE("the proxy's own parser reads the hello of a check") {
  const Bytes hello = check_hello("app.example.com", counting_randoms());
  ClientHelloParser parser;
  CHECK(describe(parser.parse(hello)) == "app.example.com alpn= versions=0303/0304");
}

TEST_CASE("the hello of a check is a single record that carries the random bytes it was given") {
  const HelloRandoms randoms = counting_randoms();
  const Bytes hello = check_hello("app.example.com", randoms);
  ByteReader record(hello);
  CHECK(record.u8() == 22);
  CHECK(record.u16() == 0x0301);
  auto message = record.vector16();
  CHECK(record.finished());
  CHECK(message.u8() == 1);
  CHECK(message.u24() == message.rest().size());
  CHECK(message.u16() == 0x0303);
  const auto random = message.bytes(32);
  CHECK(Bytes(random.begin(), random.end()) == bytes_of(randoms.random));
  const auto session_id = message.vector8().rest();
  CHECK(Bytes(session_id.begin(), session_id.end()) == bytes_of(randoms.session_id));
  CHECK(message.vector16().rest().size() % 2 == 0);
  CHECK(message.vector8().rest().size() == 1);
  CHECK(extension_of(hello, 51) ==
        vector16(join({u16(0x001d), vector16(bytes_of(randoms.key_share))})));
}

TEST_CASE("the hello of a check offers TLS 1.3 and 1.2, and groups and signatures for both") {
  const Bytes hello = check_hello("a.example", counting_randoms());
  CHECK(extension_of(hello, 0) == server_name_body("a.example"));
  CHECK(extension_of(hello, 43) == Bytes{4, 0x03, 0x04, 0x03, 0x03});
  CHECK(extension_of(hello, 10) == Bytes{0, 8, 0, 0x1d, 0, 0x17, 0, 0x18, 0, 0x19});
  CHECK(extension_of(hello, 11) == Bytes{1, 0});
  CHECK(extension_of(hello, 13).size() == 2 + 2 * 16);
  CHECK(extension_of(hello, 0xff01) == Bytes{0});
}

TEST_CASE("the hello of a check takes the longest host name") {
  const std::string label(63, 'a');
  const std::string name = label + "." + label + "." + label + "." + std::string(61, 'a');
  const Bytes hello = check_hello(name, counting_randoms());
  ClientHelloParser parser;
  CHECK(describe(parser.parse(hello)) == name + " alpn= versions=0303/0304");
}
