// SPDX-License-Identifier: Apache-2.0
#include "dns/reply.hpp"

#include "dns/limits.hpp"
#include "support/catch.hpp"
#include "unit/dns/replies.hpp"

using namespace mc;
using namespace mc::dns;
using namespace mc::dns::testing;
using namespace std::chrono_literals;

namespace {

std::string why(const Replies& replies) {
  const auto failure = failure_of(replies);
  return failure ? failure->why : "none";
}

}  // namespace

TEST_CASE("an answer is sorted and has each address once") {
  Known known;
  known.take({.ipv4 = has({"10.0.0.2", "10.0.0.1", "10.0.0.2"}), .ipv6 = has({"2001:db8::1"})});
  CHECK(known.answer().addresses == ips({"10.0.0.1", "10.0.0.2", "2001:db8::1"}));
}

TEST_CASE("of many addresses the lowest are kept, whatever their order was") {
  Reply many = has({});
  for (std::uint32_t i = 200; i > 0; --i) many.addresses.push_back(IpAddress::v4(i * 7919 % 256));
  Known known;
  known.take({.ipv4 = many, .ipv6 = has({"2001:db8::1"})});
  const Answer answer = known.answer();
  REQUIRE(answer.addresses.size() == kAddressesMax);
  CHECK(std::ranges::is_sorted(answer.addresses));
  std::ranges::sort(many.addresses);
  CHECK(answer.addresses.back() == many.addresses[kAddressesMax - 1]);
}

TEST_CASE("a family whose question failed keeps its addresses, one without addresses loses them") {
  Known known;
  known.take({.ipv4 = has({"10.0.0.1"}), .ipv6 = has({"2001:db8::1"})});
  known.take({.ipv4 = has({"10.0.0.2"}), .ipv6 = failed("SERVFAIL")});
  CHECK(known.answer().addresses == ips({"10.0.0.2", "2001:db8::1"}));
  known.take({.ipv4 = has({"10.0.0.2"}), .ipv6 = no_address()});
  CHECK(known.answer().addresses == ips({"10.0.0.2"}));
}

TEST_CASE("it is no failure if one family has addresses") {
  CHECK(why({.ipv4 = has({"10.0.0.1"}), .ipv6 = failed("no reply")}) == "none");
  CHECK(why({.ipv4 = no_name(), .ipv6 = has({"2001:db8::1"})}) == "none");
}

TEST_CASE("a failure has the words of what says least about the name") {
  CHECK(why({.ipv4 = no_address(), .ipv6 = failed("no reply")}) == "no reply");
  CHECK(why({.ipv4 = failed("SERVFAIL"), .ipv6 = failed("no reply")}) == "SERVFAIL");
  CHECK(why({.ipv4 = no_name(), .ipv6 = no_name()}) == "no such name");
  CHECK(why({.ipv4 = no_address(), .ipv6 = no_address()}) == "no address");
}

TEST_CASE("the TTL is the least of the families that have addresses") {
  CHECK(ttl_of({.ipv4 = has({"10.0.0.1"}, 30s), .ipv6 = has({"2001:db8::1"}, 20s)}) == 20s);
  CHECK(ttl_of({.ipv4 = has({"10.0.0.1"}, 30s), .ipv6 = no_address()}) == 30s);
  CHECK(ttl_of({.ipv4 = failed("no reply"), .ipv6 = has({"2001:db8::1"}, 40s)}) == 40s);
}
