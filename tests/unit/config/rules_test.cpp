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

TEST_CASE("A route's host name comes out in normal form") {
  CHECK(parse_hostname("App.Example.COM.")->text() == "app.example.com");
  CHECK(parse_hostname("*.Example.COM.")->text() == "*.example.com");
  CHECK(parse_hostname("*")->text() == "*");
}

TEST_CASE("What no client can ask for is no host name of a route") {
  const std::string_view text = GENERATE("", "a..b", ".", "a b", "a.1");
  const auto result = parse_hostname(text);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message.starts_with('"' + std::string(text) + "\": not a host name: "));
}

TEST_CASE("What is mistaken for a host name is called by its name, with the host name in it") {
  const auto problem = [](std::string_view text) {
    const auto result = parse_hostname(text);
    return result.has_value() ? std::string("none") : result.error().message;
  };
  CHECK(problem("https://app.example.com/x?y#z") ==
        R"("https://app.example.com/x?y#z": a URL, not a host name; write "app.example.com")");
  CHECK(problem("App.example.com:443") ==
        R"("App.example.com:443": a host name with a port; write "app.example.com")");
  CHECK(problem("app.example.com/") ==
        R"("app.example.com/": a host name with a path; write "app.example.com")");
  CHECK(problem("192.0.2.1").contains(": an IP address, not a host name: "));
  CHECK(problem("[::1]").contains(": an IP address, not a host name: "));
  CHECK(problem("[::1]:443").contains(": an IP address with a port, not a host name: "));
  for (const std::string_view text :
       {"://", "https://", "/", ":", ":443", "https://-a/", "[::1", "*:443:1", "a:b:c"}) {
    CAPTURE(text);
    CHECK(problem(text) != "none");
  }
}

TEST_CASE("A wildcard stands for whole labels in front") {
  const std::string_view text =
      GENERATE("*.*.example.com", "a.*.example.com", "*example.com", "**", "*.*");
  CHECK(parse_hostname(text).error().message.contains("a wildcard stands alone"));
  CHECK(parse_hostname("*.").error().message.contains("not a host name"));
}

TEST_CASE("A backend is an address that can be connected to") {
  CHECK(parse_backend("127.0.0.1:443").has_value());
  CHECK(parse_backend("0.0.0.0:443")
            .error()
            .message.ends_with("write \"127.0.0.1:443\" for this machine"));
  CHECK_FALSE(parse_backend("[::]:443").has_value());
  CHECK_FALSE(parse_backend("127.0.0.1").has_value());
}

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
