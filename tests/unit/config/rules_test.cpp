// SPDX-License-Identifier: Apache-2.0
#include "config/rules.hpp"

#include <string>
#include <string_view>

#include "config/iso3166.hpp"
#include "support/catch.hpp"

using namespace mc::config;
using mc::SocketAddress;

namespace {

SocketAddress listener(std::string_view text) { return SocketAddress::parse_listen(text).value(); }
SocketAddress backend(std::string_view text) { return SocketAddress::parse(text).value(); }

}  // namespace

TEST_CASE("Listeners collide on the same address, and on all addresses of a shared family") {
  CHECK(collide(listener(":443"), listener("[::]:443")));
  CHECK(collide(listener(":443"), listener("0.0.0.0:443")));
  CHECK(collide(listener("127.0.0.1:443"), listener("[::ffff:127.0.0.1]:443")));
  CHECK_FALSE(collide(listener(":443"), listener(":444")));
  CHECK_FALSE(collide(listener(":443"), listener("127.0.0.1:443")));
  CHECK_FALSE(collide(listener(":0"), listener(":0")));
}

TEST_CASE("A backend leads back when the connection would arrive at a listener") {
  CHECK(leads_back(backend("192.0.2.1:443"), listener("192.0.2.1:443")));
  CHECK(leads_back(backend("127.0.0.1:443"), listener(":443")));
  CHECK(leads_back(backend("[::1]:443"), listener(":443")));
  CHECK(leads_back(backend("127.0.0.1:443"), listener("0.0.0.0:443")));
  CHECK_FALSE(leads_back(backend("[::1]:443"), listener("0.0.0.0:443")));
  CHECK_FALSE(leads_back(backend("127.0.0.1:444"), listener(":443")));
  CHECK_FALSE(leads_back(backend("192.0.2.1:443"), listener(":443")));
  CHECK_FALSE(leads_back(backend("127.0.0.2:443"), listener("127.0.0.1:443")));
}

TEST_CASE("A country's code is two letters that ISO 3166-1 assigns, in capitals") {
  CHECK(parse_blocked_country("de").value() == "DE");
  CHECK(parse_blocked_country("Us").value() == "US");
  CHECK(parse_blocked_country("XK").value() == "XK");
  const std::string_view text =
      GENERATE("XX", "ZZ", "AA", "EU", "UK", "", "D", "DEU", "D1", "D\xc3");
  CHECK_FALSE(parse_blocked_country(text).has_value());
}

TEST_CASE("The first, the last and no other code beside them are countries") {
  CHECK(is_country("AD"));
  CHECK(is_country("ZW"));
  CHECK_FALSE(is_country("AC"));
  CHECK_FALSE(is_country("ZZ"));
  CHECK_FALSE(is_country("de"));
  CHECK_FALSE(is_country(""));
}
