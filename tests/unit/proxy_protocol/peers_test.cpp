// SPDX-License-Identifier: Apache-2.0
// What another implementation sends: bytes that HAProxy 2.6.12 sent to a socket, each followed by
// the first bytes of its client, as far as it had some.

#include "proxy_protocol/header.hpp"
#include "support/catch.hpp"
#include "unit/proxy_protocol/header_builder.hpp"

using namespace mc::proxy_protocol;
using namespace mc::proxy_protocol::testing;

TEST_CASE("a health check of HAProxy is read") {
  // check send-proxy-v2 proxy-v2-options crc32c
  expect(hex("0d0a0d0a000d0a515549540a20000007 030004a9b87e8f"), "local, 23 bytes");
  // check send-proxy
  expect(bytes("PROXY TCP4 127.0.0.1 127.0.0.1 49418 18845\r\n"),
         "127.0.0.1:49418 > 127.0.0.1:18845, 44 bytes");
}

TEST_CASE("lines of HAProxy are read") {
  expect(bytes("PROXY TCP4 127.0.0.1 127.0.0.1 47100 18843\r\nx"),
         "127.0.0.1:47100 > 127.0.0.1:18843, 44 bytes");
  expect(bytes("PROXY TCP6 ::1 ::1 35216 18843\r\nx"), "[::1]:35216 > [::1]:18843, 32 bytes");
}

TEST_CASE("a ClientHello behind a header of HAProxy stays where it is") {
  // send-proxy-v2 proxy-v2-options authority,crc32c,unique-id; without TLS of its own, HAProxy
  // knows no authority.
  expect(hex("0d0a0d0a000d0a515549540a21110040 7f0000017f000001b0bc4999 030004d873c22f"
             "05002a2d37463030303030313a423042435f37463030303030313a343939395f36423041334338455f30"
             "303030 1603010200010001"),
         "127.0.0.1:45244 > 127.0.0.1:18841, 80 bytes");
}

TEST_CASE("checksum, authority, unique id and TLS data of HAProxy are read") {
  // bind ssl; send-proxy-v2 proxy-v2-options ssl,cert-cn,authority,crc32c,unique-id
  expect(hex("0d0a0d0a000d0a515549540a21110059 7f0000017f000001e1a04999 030004a641dfb9"
             "02000f4170702e4578616d706c652e636f6d"
             "05001f303030303030303035333231463245383132372e302e302e313a3537373630"
             "20000f0100000000210007544c5376312e33 6869"),
         "127.0.0.1:57760 > 127.0.0.1:18841 for App.Example.com, 105 bytes");
  expect(hex("0d0a0d0a000d0a515549540a2121006b 00000000000000000000000000000001"
             "00000000000000000000000000000001 a8284999 030004c89453aa"
             "02000f4170702e4578616d706c652e636f6d"
             "050019303030303030303032464241443930333a3a313a3433303438"
             "20000f0100000000210007544c5376312e33 6869"),
         "[::1]:43048 > [::1]:18841 for App.Example.com, 123 bytes");
}
