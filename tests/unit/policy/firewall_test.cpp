// SPDX-License-Identifier: Apache-2.0
#include "policy/firewall.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "unit/policy/test_database.hpp"

namespace mc::policy {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
IpPrefix cidr(std::string_view text) { return IpPrefix::parse(text).value(); }

std::shared_ptr<const GeoIp> countries() {
  static const auto database = GeoIp::open(TestDatabase("country").path()).value();
  return database;
}

}  // namespace

TEST_CASE("a firewall without rules allows everyone") {
  const Firewall firewall;
  CHECK(firewall.check(ip("203.0.113.50")) == Verdict::kAllowed);
  CHECK(firewall.check(ip("2001:db8::1")) == Verdict::kAllowed);
  CHECK_FALSE(firewall.blocked_cidr(ip("203.0.113.50")));
  CHECK(firewall.geoip() == nullptr);
}

TEST_CASE("the verdict names the kind of rule that blocks") {
  const Firewall firewall({.ips = {ip("203.0.113.50"), ip("2001:db8::50")},
                           .cidrs = {cidr("198.51.100.0/24"), cidr("2001:db8:1::/48")},
                           .countries = {"FR"}},
                          countries());
  CHECK(firewall.check(ip("203.0.113.50")) == Verdict::kBlockedIp);
  CHECK(firewall.check(ip("203.0.113.51")) == Verdict::kAllowed);
  CHECK(firewall.check(ip("2001:db8::50")) == Verdict::kBlockedIp);
  CHECK(firewall.check(ip("198.51.100.7")) == Verdict::kBlockedCidr);
  CHECK(firewall.check(ip("2001:db8:1::7")) == Verdict::kBlockedCidr);
  CHECK(firewall.check(ip("192.0.2.7")) == Verdict::kBlockedCountry);
  CHECK(firewall.check(ip("127.0.0.1")) == Verdict::kAllowed);
}

TEST_CASE("an address blocked in several ways is blocked by its own rule first, then the CIDR") {
  Firewall firewall(
      {.ips = {ip("192.0.2.7")}, .cidrs = {cidr("192.0.2.0/24")}, .countries = {"FR"}},
      countries());
  CHECK(firewall.check(ip("192.0.2.7")) == Verdict::kBlockedIp);
  firewall = firewall.with_ips({});
  CHECK(firewall.check(ip("192.0.2.7")) == Verdict::kBlockedCidr);
  firewall = firewall.with_cidrs({});
  CHECK(firewall.check(ip("192.0.2.7")) == Verdict::kBlockedCountry);
  firewall = firewall.with_countries({});
  CHECK(firewall.check(ip("192.0.2.7")) == Verdict::kAllowed);
}

TEST_CASE("IPv4 rules hold for clients that come in IPv4-mapped form, and the other way round") {
  const Firewall firewall({.ips = {ip("::ffff:203.0.113.50")},
                           .cidrs = {cidr("::ffff:198.51.100.0/120")},
                           .countries = {"FR"}},
                          countries());
  for (const std::string_view form : {"", "::ffff:"}) {
    CHECK(firewall.check(ip(std::string(form) + "203.0.113.50")) == Verdict::kBlockedIp);
    CHECK(firewall.check(ip(std::string(form) + "198.51.100.1")) == Verdict::kBlockedCidr);
    CHECK(firewall.check(ip(std::string(form) + "192.0.2.1")) == Verdict::kBlockedCountry);
    CHECK(firewall.check(ip(std::string(form) + "192.0.3.1")) == Verdict::kAllowed);
  }
}

TEST_CASE("all of IPv6 can be blocked without blocking IPv4") {
  const Firewall firewall({.ips = {}, .cidrs = {cidr("::/0")}, .countries = {}});
  CHECK(firewall.check(ip("2001:db8::1")) == Verdict::kBlockedCidr);
  CHECK(firewall.check(ip("::ffff:203.0.113.50")) == Verdict::kAllowed);
}

TEST_CASE("the longest blocked CIDR is named") {
  const Firewall firewall({.ips = {ip("10.1.0.1")},
                           .cidrs = {cidr("10.0.0.0/8"), cidr("10.1.0.0/16")},
                           .countries = {}});
  CHECK(firewall.blocked_cidr(ip("10.1.0.1")) == cidr("10.1.0.0/16"));
  CHECK(firewall.blocked_cidr(ip("10.2.0.1")) == cidr("10.0.0.0/8"));
  CHECK_FALSE(firewall.blocked_cidr(ip("11.0.0.1")));
}

TEST_CASE("an address that the database does not know is in no blocked country") {
  const Firewall firewall({.ips = {}, .cidrs = {}, .countries = {"DE", "FR", "JP"}}, countries());
  CHECK(firewall.check(ip("127.0.0.1")) == Verdict::kBlockedCountry);
  CHECK(firewall.check(ip("203.0.113.1")) == Verdict::kAllowed);
  CHECK(firewall.check(ip("2001:db9::1")) == Verdict::kAllowed);
}

TEST_CASE("another database changes the verdict by country and nothing else") {
  const Firewall before(
      {.ips = {ip("203.0.113.50")}, .cidrs = {cidr("198.51.100.0/24")}, .countries = {"FR"}},
      countries());
  const auto moved = GeoIp::open(TestDatabase("country_moved").path()).value();
  const Firewall after = before.with_geoip(moved);
  CHECK(before.check(ip("192.0.2.7")) == Verdict::kBlockedCountry);
  CHECK(after.check(ip("192.0.2.7")) == Verdict::kAllowed);
  CHECK(after.check(ip("203.0.113.50")) == Verdict::kBlockedIp);
  CHECK(after.check(ip("198.51.100.7")) == Verdict::kBlockedCidr);
  CHECK(after.geoip() == moved);
}

TEST_CASE("verdicts have names") {
  CHECK(to_string(Verdict::kAllowed) == "allowed");
  CHECK(to_string(Verdict::kBlockedIp) == "blocked_ip");
  CHECK(to_string(Verdict::kBlockedCidr) == "blocked_cidr");
  CHECK(to_string(Verdict::kBlockedCountry) == "blocked_country");
}

// Addresses from few values, so that they match the rules often.
TEST_CASE("a firewall of random rules decides as going through all of them would") {
  std::mt19937_64 random(20260819);
  const auto address = [&random] {
    const auto value =
        static_cast<std::uint32_t>(random() % 8) << 28 | static_cast<std::uint32_t>(random() % 64);
    if (random() % 2 == 0) return IpAddress::v4(value);
    IpAddress::Bytes bytes{0x20, static_cast<std::uint8_t>(random() % 8)};
    bytes[15] = static_cast<std::uint8_t>(random() % 64);
    return IpAddress(bytes);
  };
  for (int round = 0; round < 200; ++round) {
    FirewallRules rules;
    for (auto n = random() % 20; n > 0; --n) rules.ips.push_back(address());
    for (auto n = random() % 20; n > 0; --n) {
      const IpAddress inside = address();
      // Lengths for which any address is a network in itself.
      const auto length = (inside.is_v4() ? 26 : 122) + static_cast<int>(random() % 7);
      const auto prefix = IpPrefix::parse(inside.to_string() + "/" + std::to_string(length));
      if (prefix) rules.cidrs.push_back(*prefix);
    }
    const Firewall firewall(rules);
    for (int i = 0; i < 200; ++i) {
      const IpAddress client = address();
      const bool by_ip = std::ranges::find(rules.ips, client) != rules.ips.end();
      const bool by_cidr =
          std::ranges::any_of(rules.cidrs, [&](const IpPrefix& c) { return c.contains(client); });
      INFO(client.to_string());
      REQUIRE(firewall.check(client) == (by_ip     ? Verdict::kBlockedIp
                                         : by_cidr ? Verdict::kBlockedCidr
                                                   : Verdict::kAllowed));
    }
  }
}

}  // namespace mc::policy
