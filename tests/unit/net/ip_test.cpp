// SPDX-License-Identifier: Apache-2.0
#include "net/ip.hpp"

#include <string>
#include <string_view>

#include "support/catch.hpp"

using mc::IpAddress;
using mc::IpPrefix;

namespace {

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }
IpPrefix prefix(std::string_view text) { return IpPrefix::parse(text).value(); }
std::string address_error(std::string_view text) { return IpAddress::parse(text).error().message; }
std::string prefix_error(std::string_view text) { return IpPrefix::parse(text).error().message; }

}  // namespace

TEST_CASE("An address reads back as it is usually written") {
  CHECK(address("192.0.2.1").to_string() == "192.0.2.1");
  CHECK(address("0.0.0.0").to_string() == "0.0.0.0");
  CHECK(address("255.255.255.255").to_string() == "255.255.255.255");
  CHECK(address("::").to_string() == "::");
  CHECK(address("2001:DB8:0:0:1:0:0:1").to_string() == "2001:db8::1:0:0:1");
}

TEST_CASE("An IPv4-mapped IPv6 address is the IPv4 address") {
  CHECK(address("::ffff:192.0.2.1") == address("192.0.2.1"));
  CHECK(address("::ffff:c000:201").to_string() == "192.0.2.1");
  CHECK(address("::ffff:192.0.2.1").is_v4());
  CHECK_FALSE(address("::192.0.2.1").is_v4());
  CHECK_FALSE(IpAddress().is_v4());
}

TEST_CASE("An IPv4 address and its number in host order are the same value") {
  STATIC_REQUIRE(IpAddress::v4(0x7f000001).is_v4());
  STATIC_REQUIRE(IpAddress::v4(0x7f000001).v4_value() == 0x7f000001);
  CHECK(IpAddress::v4(0xc0000201) == address("192.0.2.1"));
}

TEST_CASE("What is not exactly one address is refused by name") {
  const std::string_view text =
      GENERATE("", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", " 1.2.3.4", "1.2.3.4 ",
               "localhost", ":::", "1::2::3", "fe80::1%eth0", "g::", "1:2:3:4:5:6:7:8:9");
  CHECK(address_error(text).starts_with('"' + std::string(text) + "\": not an IP address; write"));
}

TEST_CASE("A NUL does not end an address") {
  CHECK_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
  CHECK_FALSE(IpPrefix::parse(std::string_view("1.2.3.4\0/32", 11)));
}

TEST_CASE("The error for an address names what was probably meant") {
  CHECK(address_error("192.0.2.0/24") ==
        R"("192.0.2.0/24": this is a block, but one IP address is wanted; write "192.0.2.0")");
  CHECK(address_error("[::1]") ==
        R"("[::1]": an address without a port takes no brackets; write "::1")");
}

TEST_CASE("Hostile bytes in an address do not reach the error message raw") {
  CHECK(address_error("\x1b[31m\n").starts_with(R"("\x1b[31m\n": )"));
  CHECK(address_error(std::string(100'000, 'a')).size() < 300);
}

TEST_CASE("A block reads back as written") {
  CHECK(prefix("198.51.100.0/24").to_string() == "198.51.100.0/24");
  CHECK(prefix("0.0.0.0/0").to_string() == "0.0.0.0/0");
  CHECK(prefix("192.0.2.1/32").to_string() == "192.0.2.1/32");
  CHECK(prefix("2001:DB8::/32").to_string() == "2001:db8::/32");
  CHECK(prefix("::/0").to_string() == "::/0");
  CHECK(prefix("::1/128").to_string() == "::1/128");
}

TEST_CASE("A block of IPv4-mapped addresses is the IPv4 block") {
  CHECK(prefix("::ffff:10.0.0.0/104") == prefix("10.0.0.0/8"));
  CHECK(prefix("::ffff:0:0/96") == prefix("0.0.0.0/0"));
  CHECK(prefix("10.0.0.0/8").mapped_length() == 104);
  CHECK(prefix("2001:db8::/32").mapped_length() == 32);
}

TEST_CASE("A block holds the addresses from its first to its last and no other") {
  const IpPrefix block = prefix("198.51.100.64/26");
  CHECK(block.contains(address("198.51.100.64")));
  CHECK(block.contains(address("198.51.100.127")));
  CHECK_FALSE(block.contains(address("198.51.100.63")));
  CHECK_FALSE(block.contains(address("198.51.100.128")));

  const IpPrefix v6 = prefix("2001:db8::/33");
  CHECK(v6.contains(address("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff")));
  CHECK_FALSE(v6.contains(address("2001:db8:8000::")));
}

TEST_CASE("A block is made around an address, with its host bits cleared") {
  CHECK(IpPrefix::around(address("198.51.100.77"), 26) == prefix("198.51.100.64/26"));
  CHECK(IpPrefix::around(address("2001:db8:ffff::1"), 33) == prefix("2001:db8:8000::/33"));
  CHECK(IpPrefix::only(address("192.0.2.1")) == prefix("192.0.2.1/32"));
  CHECK(IpPrefix::only(address("::1")) == prefix("::1/128"));
}

TEST_CASE("What an address is for is known in both families") {
  CHECK(address("0.0.0.0").is_unspecified());
  CHECK(address("::").is_unspecified());
  CHECK_FALSE(address("0.0.0.1").is_unspecified());
  CHECK(address("127.255.0.1").is_loopback());
  CHECK(address("::1").is_loopback());
  CHECK_FALSE(address("128.0.0.1").is_loopback());
  CHECK_FALSE(address("::2").is_loopback());
  CHECK(address("224.0.0.1").is_multicast());
  CHECK(address("255.255.255.255").is_multicast());
  CHECK(address("ff02::1").is_multicast());
  CHECK_FALSE(address("223.255.255.255").is_multicast());
}

TEST_CASE("A block holds addresses of its own family only") {
  CHECK(prefix("0.0.0.0/0").contains(address("::ffff:192.0.2.1")));
  CHECK_FALSE(prefix("0.0.0.0/0").contains(address("::1")));
  CHECK(prefix("::/0").contains(address("::1")));
  CHECK_FALSE(prefix("::/0").contains(address("192.0.2.1")));
  CHECK_FALSE(prefix("::/64").contains(address("192.0.2.1")));
}

TEST_CASE("A block with host bits is refused and the right block is named") {
  CHECK(prefix_error("198.51.100.7/24") ==
        R"("198.51.100.7/24": bits beyond the first 24 are set; the block is "198.51.100.0/24")");
  CHECK(prefix_error("2001:db8::1/64").ends_with(R"(the block is "2001:db8::/64")"));
  CHECK(prefix_error("::ffff:10.1.0.0/104").ends_with(R"(the block is "10.0.0.0/8")"));
  CHECK(prefix_error("::ffff:0:0/95").ends_with(R"(the block is "::fffe:0:0/95")"));
}

TEST_CASE("An address may stand for the block that holds it alone") {
  CHECK(IpPrefix::parse_block_or_address("10.0.0.0/8")->to_string() == "10.0.0.0/8");
  CHECK(IpPrefix::parse_block_or_address("192.0.2.1")->to_string() == "192.0.2.1/32");
  CHECK(IpPrefix::parse_block_or_address("2001:db8::1")->to_string() == "2001:db8::1/128");
  CHECK_FALSE(IpPrefix::parse_block_or_address("192.0.2.1/8").has_value());
  CHECK_FALSE(IpPrefix::parse_block_or_address("proxy.example.com").has_value());
}

TEST_CASE("An address names a host unless it is everyone's, a group's or needs an interface") {
  for (const std::string_view text :
       {"0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "fe80::1"}) {
    CHECK_FALSE(address(text).names_host());
  }
  for (const std::string_view text : {"127.0.0.1", "::1", "10.0.0.1", "2001:db8::1"}) {
    CHECK(address(text).names_host());
  }
}

TEST_CASE("A block needs a slash and a plain length") {
  CHECK(prefix_error("192.0.2.1").contains(R"(write "192.0.2.1/32")"));
  CHECK(prefix_error("2001:db8::1").contains(R"(write "2001:db8::1/128")"));
  const std::string_view v4 =
      GENERATE("10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/08",
               "10.0.0.0/8 ", "10.0.0.0/8/8", "10.0.0.0/0x8", "10.0.0.0/4294967304");
  CHECK(prefix_error(v4).ends_with("must be a number from 0 to 32"));
  CHECK(prefix_error("::/129").ends_with("must be a number from 0 to 128"));
  CHECK(prefix_error("example.com/8").contains("not a CIDR block"));
  CHECK(prefix_error("/8").contains("not a CIDR block"));
}
