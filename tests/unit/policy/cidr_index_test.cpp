// SPDX-License-Identifier: Apache-2.0
#include "policy/cidr_index.hpp"

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace mc::policy {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

CidrIndex index_of(const std::vector<const char*>& blocks) {
  std::vector<IpPrefix> prefixes;
  for (const char* block : blocks) prefixes.push_back(IpPrefix::parse(block).value());
  return CidrIndex(prefixes);
}

/// The longest match as text, or "none".
std::string match(const CidrIndex& index, std::string_view address) {
  const auto found = index.longest_match(ip(address));
  CHECK(index.contains(ip(address)) == found.has_value());
  return found ? found->to_string() : "none";
}

/// The reference: every block is tried.
std::optional<IpPrefix> naive_match(const std::vector<IpPrefix>& blocks, const IpAddress& address) {
  std::optional<IpPrefix> best;
  for (const IpPrefix& block : blocks) {
    if (block.contains(address) && (!best || block.length() > best->length())) best = block;
  }
  return best;
}

/// The address with some bits at its end replaced: a near neighbour, or a distant one.
IpAddress neighbour(const IpAddress& address, std::mt19937_64& random) {
  auto bytes = address.bytes();
  const int first_bit = address.is_v4() ? 96 : 0;
  for (int bit = first_bit + static_cast<int>(random() % (128U - static_cast<unsigned>(first_bit)));
       bit < 128; ++bit) {
    if (random() % 2 == 0) bytes[static_cast<std::size_t>(bit / 8)] ^= 0x80U >> (bit % 8);
  }
  return IpAddress(bytes);
}

IpPrefix block_around(const IpAddress& address, int length) {
  auto bytes = address.bytes();
  for (int bit = address.is_v4() ? 96 + length : length; bit < 128; ++bit) {
    bytes[static_cast<std::size_t>(bit / 8)] &= static_cast<std::uint8_t>(~(0x80U >> (bit % 8)));
  }
  const auto text = IpAddress(bytes).to_string() + "/" + std::to_string(length);
  return IpPrefix::parse(text).value();
}

/// Checks the index against the reference at both edges of every block, one step beyond them, and
/// at random places near and far.
void check_against_reference(const std::vector<IpPrefix>& blocks, std::mt19937_64& random) {
  const CidrIndex index(blocks);
  for (const IpPrefix& block : blocks) {
    IpAddress probe = block.network();
    for (int i = 0; i < 8; ++i) {
      INFO(probe.to_string() << " near " << block.to_string());
      REQUIRE(index.longest_match(probe) == naive_match(blocks, probe));
      REQUIRE(index.contains(probe) == naive_match(blocks, probe).has_value());
      probe = neighbour(probe, random);
    }
  }
}

}  // namespace

TEST_CASE("an index without blocks holds nothing") {
  for (const CidrIndex& index : {CidrIndex(), index_of({})}) {
    CHECK(match(index, "0.0.0.0") == "none");
    CHECK(match(index, "::") == "none");
    CHECK(index.heap_bytes() == 0);
  }
}

TEST_CASE("a block holds its first and its last address and no other") {
  const auto index = index_of({"198.51.100.0/24", "2001:db8::/32"});
  CHECK(match(index, "198.51.99.255") == "none");
  CHECK(match(index, "198.51.100.0") == "198.51.100.0/24");
  CHECK(match(index, "198.51.100.255") == "198.51.100.0/24");
  CHECK(match(index, "198.51.101.0") == "none");
  CHECK(match(index, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff") == "none");
  CHECK(match(index, "2001:db8::") == "2001:db8::/32");
  CHECK(match(index, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff") == "2001:db8::/32");
  CHECK(match(index, "2001:db9::") == "none");
}

TEST_CASE("of nested blocks the longest matches, and behind it the one around it again") {
  const auto index =
      index_of({"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "10.1.2.0/24"});
  CHECK(match(index, "10.0.0.0") == "10.0.0.0/8");
  CHECK(match(index, "10.1.0.0") == "10.1.0.0/16");
  CHECK(match(index, "10.1.2.2") == "10.1.2.0/24");
  CHECK(match(index, "10.1.2.3") == "10.1.2.3/32");
  CHECK(match(index, "10.1.2.4") == "10.1.2.0/24");
  CHECK(match(index, "10.1.3.0") == "10.1.0.0/16");
  CHECK(match(index, "10.2.0.0") == "10.0.0.0/8");
  CHECK(match(index, "11.0.0.0") == "none");
}

TEST_CASE("blocks that end together are told apart") {
  const auto index = index_of({"10.1.2.0/24", "10.1.2.252/30", "10.1.2.255/32", "2001:db8::/126",
                               "2001:db8::2/127", "2001:db8::3/128"});
  CHECK(match(index, "10.1.2.251") == "10.1.2.0/24");
  CHECK(match(index, "10.1.2.254") == "10.1.2.252/30");
  CHECK(match(index, "10.1.2.255") == "10.1.2.255/32");
  CHECK(match(index, "10.1.3.0") == "none");
  CHECK(match(index, "2001:db8::1") == "2001:db8::/126");
  CHECK(match(index, "2001:db8::2") == "2001:db8::2/127");
  CHECK(match(index, "2001:db8::3") == "2001:db8::3/128");
  CHECK(match(index, "2001:db8::4") == "none");
}

TEST_CASE("neighbours of one length are told apart") {
  const auto index =
      index_of({"10.0.0.0/24", "10.0.1.0/24", "2001:db8::/33", "2001:db8:8000::/33"});
  CHECK(match(index, "10.0.0.255") == "10.0.0.0/24");
  CHECK(match(index, "10.0.1.0") == "10.0.1.0/24");
  CHECK(match(index, "2001:db8:7fff::") == "2001:db8::/33");
  CHECK(match(index, "2001:db8:8000::") == "2001:db8:8000::/33");
}

TEST_CASE("blocks may reach to the ends of the address space") {
  const auto index = index_of({"0.0.0.0/32", "255.255.255.255/32", "255.255.0.0/16", "::/128",
                               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "ffff::/16"});
  CHECK(match(index, "0.0.0.0") == "0.0.0.0/32");
  CHECK(match(index, "0.0.0.1") == "none");
  CHECK(match(index, "255.255.255.254") == "255.255.0.0/16");
  CHECK(match(index, "255.255.255.255") == "255.255.255.255/32");
  CHECK(match(index, "::") == "::/128");
  CHECK(match(index, "::1") == "none");
  CHECK(match(index, "ffff:ffff:ffff:ffff::") == "ffff::/16");
  CHECK(match(index, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") ==
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
}

TEST_CASE("a block of length 0 holds its whole family and nothing of the other") {
  const auto v4 = index_of({"0.0.0.0/0"});
  CHECK(match(v4, "0.0.0.0") == "0.0.0.0/0");
  CHECK(match(v4, "255.255.255.255") == "0.0.0.0/0");
  CHECK(match(v4, "::1") == "none");

  const auto v6 = index_of({"::/0"});
  CHECK(match(v6, "::1") == "::/0");
  CHECK(match(v6, "ffff::") == "::/0");
  CHECK(match(v6, "192.0.2.1") == "none");
  CHECK(match(v6, "::ffff:192.0.2.1") == "none");
}

TEST_CASE("a block in IPv4-mapped notation is the IPv4 block") {
  const auto index = index_of({"::ffff:198.51.100.0/120"});
  CHECK(match(index, "198.51.100.7") == "198.51.100.0/24");
  CHECK(match(index, "::ffff:198.51.100.7") == "198.51.100.0/24");
  CHECK(match(index, "::198.51.100.7") == "none");
  CHECK(match(index_of({"::ffff:0:0/96"}), "203.0.113.1") == "0.0.0.0/0");
  CHECK(match(index_of({"::ffff:0:0/96"}), "2001:db8::1") == "none");
}

TEST_CASE("blocks that differ only behind bit 64 are told apart") {
  std::vector<IpPrefix> blocks = {IpPrefix::parse("2001:db8::/32").value()};
  for (unsigned i = 0; i < 500; i += 2) {
    blocks.push_back(block_around(ip("2001:db8::" + std::to_string(i)), 128));
  }
  std::mt19937_64 random(4);
  check_against_reference(blocks, random);
  CHECK(match(CidrIndex(blocks), "2001:db8::1") == "2001:db8::/32");
  CHECK(match(CidrIndex(blocks), "2001:db8::2") == "2001:db8::2/128");
  CHECK(match(CidrIndex(blocks), "2001:db8::ffff") == "2001:db8::/32");
}

TEST_CASE("an index of random blocks answers as trying every block would") {
  const auto seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U);
  std::mt19937_64 random(seed);
  const std::vector<IpAddress> centres = {
      ip("10.0.0.0"), ip("255.255.255.255"),
      ip("0.0.0.0"),  ip("2001:db8::"),
      ip("::"),       ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")};
  std::vector<IpPrefix> blocks;
  for (int i = 0; i < 400; ++i) {
    const IpAddress address = neighbour(centres[random() % centres.size()], random);
    blocks.push_back(
        block_around(address, static_cast<int>(random() % (address.is_v4() ? 33 : 129))));
  }
  check_against_reference(blocks, random);
  // Without the few that cover nearly everything.
  std::erase_if(blocks, [](const IpPrefix& block) { return block.length() < 12; });
  check_against_reference(blocks, random);
}

TEST_CASE("hundreds of thousands of blocks are found again") {
  std::vector<IpPrefix> blocks;
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    const auto v4 = IpAddress::v4(i * 21'473);
    IpAddress::Bytes bytes{0x2a, 0x01};
    for (std::size_t b = 0; b < 4; ++b)
      bytes[2 + b] = static_cast<std::uint8_t>(i * 21'473 >> (24 - 8 * b));
    blocks.push_back(block_around(v4, 32));
    blocks.push_back(block_around(IpAddress(bytes), 48));
  }
  const CidrIndex index(blocks);
  std::size_t found = 0;
  for (const IpPrefix& block : blocks) {
    if (index.longest_match(block.network()) == block) ++found;
  }
  CHECK(found == blocks.size());
}

}  // namespace mc::policy
