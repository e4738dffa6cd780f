// SPDX-License-Identifier: Apache-2.0
#include "proxy_protocol/crc32c.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include "support/catch.hpp"
#include "unit/proxy_protocol/header_builder.hpp"

using namespace mc::proxy_protocol;
using namespace mc::proxy_protocol::testing;

TEST_CASE("the checksums of RFC 3720 appendix B.4 come out") {
  // The RFC lists the bytes as they are sent, the lowest first.
  CHECK(crc32c(Bytes(32, 0)) == 0x8a9136aa);
  CHECK(crc32c(Bytes(32, 0xff)) == 0x62a8ab43);
  Bytes counting(32);
  std::iota(counting.begin(), counting.end(), std::uint8_t{0});
  CHECK(crc32c(counting) == 0x46dd794e);
  std::ranges::reverse(counting);
  CHECK(crc32c(counting) == 0x113fdb5c);
  CHECK(crc32c(hex("01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018"
                   "28000000 00000000 02000000 00000000")) == 0xd9963a56);
}

TEST_CASE("the checksum of parts is that of the whole") {
  const Bytes whole = bytes("123456789");
  CHECK(crc32c(whole) == 0xe3069283);
  CHECK(crc32c({}) == 0);
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    const std::span<const std::uint8_t> view(whole);
    CHECK(crc32c(view.subspan(cut), crc32c(view.first(cut))) == 0xe3069283);
  }
}
