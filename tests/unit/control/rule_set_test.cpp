// SPDX-License-Identifier: Apache-2.0
#include "control/rule_set.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace mc::control;
using Texts = std::vector<std::string>;

namespace {

Rule rule(RuleType type, std::string_view value) {
  const auto parsed = Rule::parse(type, value);
  REQUIRE(parsed.has_value());
  return *parsed;
}

std::string error(RuleType type, std::string_view value) {
  const auto parsed = Rule::parse(type, value);
  return parsed.has_value() ? "" : parsed.error().message;
}

Texts texts(const RuleSet& rules) {
  Texts texts;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    texts.push_back(std::string(to_string(rules.at(i).type())) + " " + rules.at(i).value());
  }
  return texts;
}

RuleSet some_rules() {
  RuleSet rules;
  rules.append(rule(RuleType::kCountry, "RU"));
  rules.append(rule(RuleType::kCidr, "198.51.100.0/24"));
  rules.append(rule(RuleType::kIp, "203.0.113.50"));
  rules.append(rule(RuleType::kIp, "192.0.2.1"));
  rules.normalise();
  return rules;
}

}  // namespace

TEST_CASE("a rule is kept in its normal form", "[rules]") {
  CHECK(rule(RuleType::kIp, "::ffff:192.0.2.1").value() == "192.0.2.1");
  CHECK(rule(RuleType::kIp, "2001:DB8:0::1").value() == "2001:db8::1");
  CHECK(rule(RuleType::kCidr, "2001:DB8::/32").value() == "2001:db8::/32");
  CHECK(rule(RuleType::kCountry, "ru").value() == "RU");
}

TEST_CASE("a rule of another type is told which", "[rules]") {
  CHECK(error(RuleType::kIp, "198.51.100.0/24").contains("its type is CIDR"));
  CHECK(error(RuleType::kCidr, "198.51.100.7").contains("its type is IP"));
  CHECK(error(RuleType::kCidr, "198.51.100.7/24").contains("198.51.100.0/24"));
  CHECK(error(RuleType::kCountry, "XX").contains("XX"));
}

TEST_CASE("each type has a word, which leads back to it", "[rules]") {
  for (const RuleType type : {RuleType::kIp, RuleType::kCidr, RuleType::kCountry}) {
    CHECK(rule_type_of(to_string(type)) == type);
  }
  CHECK_FALSE(rule_type_of("unspecified").has_value());
  CHECK_FALSE(rule_type_of("").has_value());
}

TEST_CASE("rules are in the order of type and value, each once", "[rules]") {
  RuleSet rules = some_rules();
  rules.append(rule(RuleType::kIp, "192.0.2.1"));
  rules.normalise();
  CHECK(texts(rules) ==
        Texts{"ip 192.0.2.1", "ip 203.0.113.50", "cidr 198.51.100.0/24", "country RU"});
  for (std::size_t i = 0; i + 1 < rules.size(); ++i) CHECK(rules.at(i) < rules.at(i + 1));
}

TEST_CASE("a set knows what it contains", "[rules]") {
  const RuleSet rules = some_rules();
  CHECK(rules.contains(rule(RuleType::kIp, "192.0.2.1")));
  CHECK(rules.contains(rule(RuleType::kCidr, "198.51.100.0/24")));
  CHECK(rules.contains(rule(RuleType::kCountry, "RU")));
  CHECK_FALSE(rules.contains(rule(RuleType::kIp, "198.51.100.0")));
  CHECK_FALSE(rules.contains(rule(RuleType::kCidr, "198.51.100.0/25")));
  CHECK_FALSE(rules.contains(rule(RuleType::kCountry, "DE")));
}

TEST_CASE("a changed set has what was added and not what was removed", "[rules]") {
  const RuleSet base = some_rules();
  const RuleSet next =
      changed(base, {rule(RuleType::kIp, "198.18.0.1"), rule(RuleType::kCountry, "DE")},
              {rule(RuleType::kIp, "192.0.2.1"), rule(RuleType::kCountry, "RU")});
  CHECK(texts(next) ==
        Texts{"ip 198.18.0.1", "ip 203.0.113.50", "cidr 198.51.100.0/24", "country DE"});
  CHECK(texts(base).size() == 4);
}

TEST_CASE("a changed firewall follows the changed set", "[rules]") {
  RuleSet base;
  const RuleSet next = changed(
      base, {rule(RuleType::kIp, "192.0.2.1"), rule(RuleType::kCidr, "198.51.100.0/24")}, {});
  const mc::policy::Firewall firewall = changed(mc::policy::Firewall(), base, next);
  const auto verdict = [&firewall](const char* address) {
    return firewall.check(mc::IpAddress::parse(address).value());
  };
  CHECK(verdict("192.0.2.1") == mc::policy::Verdict::kBlockedIp);
  CHECK(verdict("198.51.100.9") == mc::policy::Verdict::kBlockedCidr);
  CHECK(verdict("192.0.2.2") == mc::policy::Verdict::kAllowed);
  const auto emptied = changed(firewall, next, base);
  CHECK(emptied.check(mc::IpAddress::parse("192.0.2.1").value()) == mc::policy::Verdict::kAllowed);
}
