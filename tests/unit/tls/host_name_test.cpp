// SPDX-License-Identifier: Apache-2.0
#include "tls/host_name.hpp"

#include <string>
#include <string_view>

#include "support/catch.hpp"

using mc::tls::HostName;
using mc::tls::HostNameError;

namespace {

// The normal form, or the rule that is broken.
std::string normalised(std::string_view text) {
  const auto name = HostName::from(text);
  return std::string(name ? name->view() : to_string(name.error()));
}

std::string error(HostNameError error) { return std::string(to_string(error)); }

// A name of `size` characters in labels of 49.
std::string name_of_size(std::size_t size) {
  std::string name;
  while (name.size() < size) name += name.size() % 50 == 49 ? '.' : 'a';
  return name;
}

}  // namespace

TEST_CASE("A host name is kept as it is") {
  for (const auto* name :
       {"localhost", "example.com", "a.b.c.d.e", "xn--bcher-kva.example", "3com.com", "1.example",
        "0x7f.example", "a--b.example", "r3---sn-4g5.example"}) {
    CHECK(normalised(name) == name);
  }
}

TEST_CASE("Upper and lower case are one name (bradfitz/tcpproxy#3, sozu#1349)") {
  CHECK(normalised("APP.Example.COM") == "app.example.com");
  CHECK(normalised("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "abcdefghijklmnopqrstuvwxyz");
  CHECK(HostName::from("APP.example.com") == HostName::from("app.EXAMPLE.com"));
  CHECK(normalised("XN--BCHER-KVA.example") == "xn--bcher-kva.example");
}

TEST_CASE("One trailing dot is dropped, and only one") {
  CHECK(normalised("example.com.") == "example.com");
  CHECK(normalised("localhost.") == "localhost");
  CHECK(normalised("example.com..") == error(HostNameError::kEmptyLabel));
  CHECK(normalised(".") == error(HostNameError::kEmpty));
  CHECK(normalised("..") == error(HostNameError::kEmptyLabel));
}

TEST_CASE("An empty text is no host name") {
  CHECK(normalised("") == error(HostNameError::kEmpty));
}

TEST_CASE("A label is never empty") {
  CHECK(normalised(".example.com") == error(HostNameError::kEmptyLabel));
  CHECK(normalised("a..b") == error(HostNameError::kEmptyLabel));
}

TEST_CASE("A name has up to 253 characters, not counting a trailing dot") {
  CHECK(normalised(name_of_size(253)) == name_of_size(253));
  CHECK(normalised(name_of_size(253) + ".") == name_of_size(253));
  CHECK(normalised(name_of_size(254)) == error(HostNameError::kTooLong));
  CHECK(normalised(name_of_size(254) + ".") == error(HostNameError::kTooLong));
  CHECK(normalised(name_of_size(255)) == error(HostNameError::kTooLong));
  CHECK(normalised(std::string(65535, 'a')) == error(HostNameError::kTooLong));
}

TEST_CASE("A label has up to 63 characters") {
  CHECK(normalised(std::string(63, 'a') + ".example") == std::string(63, 'a') + ".example");
  CHECK(normalised(std::string(64, 'a') + ".example") == error(HostNameError::kLabelTooLong));
  CHECK(normalised("example." + std::string(64, 'a')) == error(HostNameError::kLabelTooLong));
}

TEST_CASE("A hyphen stands anywhere, as users of wildcard zones choose names") {
  for (const char* const name : {"a-b.example", "-a.example", "a-.example", "-.example.com"}) {
    CHECK(normalised(name) == name);
  }
}

TEST_CASE("Underscores are allowed anywhere, as in DNS") {
  CHECK(normalised("_dmarc.example.com") == "_dmarc.example.com");
  CHECK(normalised("my_app.example.com") == "my_app.example.com");
  CHECK(normalised("app_.example.com") == "app_.example.com");
}

TEST_CASE("Every byte but ASCII letters, digits, hyphen, underscore and dot is refused") {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  for (int value = 0; value < 256; ++value) {
    const char c = static_cast<char>(value);
    const auto name = std::string("a") + c + "b.example";
    CAPTURE(value);
    CHECK(HostName::from(name).has_value() == kAllowed.contains(c));
  }
}

TEST_CASE("A NUL neither ends a name nor is part of it") {
  using namespace std::string_view_literals;
  CHECK(normalised("good.example\0.evil.example"sv) == error(HostNameError::kBadCharacter));
  CHECK(normalised("good.example\0"sv) == error(HostNameError::kBadCharacter));
}

TEST_CASE("A wildcard is not a host name") {
  CHECK(normalised("*.example.com") == error(HostNameError::kBadCharacter));
  CHECK(normalised("*") == error(HostNameError::kBadCharacter));
}

TEST_CASE("IPv4 addresses are refused, also in the short forms of inet_aton") {
  for (const auto* text : {"192.0.2.1", "192.0.2.1.", "127.1", "2130706433", "1.2.3.4.5", "a.1"}) {
    CAPTURE(text);
    CHECK(normalised(text) == error(HostNameError::kIpAddress));
  }
  CHECK(normalised("192.0.2.1.example") == "192.0.2.1.example");
}

TEST_CASE("IPv6 addresses are refused, and so is a port") {
  for (const auto* text :
       {"::1", "2001:db8::1", "[2001:db8::1]", "::ffff:192.0.2.1", "a.example:443"}) {
    CAPTURE(text);
    CHECK(normalised(text) == error(HostNameError::kBadCharacter));
  }
}

TEST_CASE("The normal form of a normal form is itself") {
  const auto once = HostName::from("WWW.Example.COM.");
  REQUIRE(once);
  CHECK(HostName::from(once->view()) == once);
}

TEST_CASE("Host names are ordered as their texts") {
  CHECK(*HostName::from("a.example") < *HostName::from("B.example"));
  CHECK(*HostName::from("a") < *HostName::from("a.example"));
}
