// SPDX-License-Identifier: Apache-2.0
#include "control/rule_set.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/assert.hpp"
#include "base/quote.hpp"
#include "config/rules.hpp"

namespace mc::control {
namespace {

template <class T>
Result<Rule> rule_from(const Result<T>& parsed) {
  if (!parsed.has_value()) return std::unexpected(parsed.error());
  return Rule(*parsed);
}

template <class T>
void sort_unique(std::vector<T>& values) {
  std::ranges::sort(values);
  const auto repeated = std::ranges::unique(values);
  values.erase(repeated.begin(), repeated.end());
}

// Merges sorted lists into a sorted one. A rule that is both removed and added stays.
template <class T>
std::vector<T> merged(const std::vector<T>& base, const std::vector<T>& added,
                      const std::vector<T>& removed) {
  std::vector<T> kept;
  kept.reserve(base.size());
  std::ranges::set_difference(base, removed, std::back_inserter(kept));
  if (added.empty()) return kept;
  std::vector<T> all;
  all.reserve(kept.size() + added.size());
  std::ranges::set_union(kept, added, std::back_inserter(all));
  return all;
}

RuleSet by_type(const std::vector<Rule>& rules) {
  RuleSet set;
  for (const Rule& rule : rules) set.append(rule);
  return set;
}

}  // namespace

Result<Rule> Rule::parse(RuleType type, std::string_view value) {
  switch (type) {
    case RuleType::kIp:
      if (IpPrefix::parse(value).has_value()) {
        return fail(quote(value) + ": a CIDR block, not one IP address; its type is CIDR");
      }
      return rule_from(config::parse_blocked_ip(value));
    case RuleType::kCidr:
      if (IpAddress::parse(value).has_value()) {
        return fail(quote(value) + ": one IP address, not a CIDR block; its type is IP");
      }
      return rule_from(config::parse_blocked_cidr(value));
    case RuleType::kCountry:
      return rule_from(config::parse_blocked_country(value));
    case RuleType::kUnspecified:
      break;
  }
  std::unreachable();
}

RuleType Rule::type() const {
  constexpr RuleType kTypes[] = {RuleType::kIp, RuleType::kCidr, RuleType::kCountry};
  return kTypes[what_.index()];
}

std::string Rule::value() const {
  if (const auto* const ip = std::get_if<IpAddress>(&what_)) return ip->to_string();
  if (const auto* const cidr = std::get_if<IpPrefix>(&what_)) return cidr->to_string();
  return std::get<std::string>(what_);
}

std::string_view to_string(RuleType type) {
  switch (type) {
    case RuleType::kIp:
      return "ip";
    case RuleType::kCidr:
      return "cidr";
    case RuleType::kCountry:
      return "country";
    case RuleType::kUnspecified:
      return "unspecified";
  }
  std::unreachable();
}

std::optional<RuleType> rule_type_of(std::string_view word) {
  for (const RuleType type : {RuleType::kIp, RuleType::kCidr, RuleType::kCountry}) {
    if (to_string(type) == word) return type;
  }
  return std::nullopt;
}

void RuleSet::normalise() {
  sort_unique(ips);
  sort_unique(cidrs);
  sort_unique(countries);
}

bool RuleSet::contains(const Rule& rule) const {
  const auto& what = rule.what();
  if (const auto* const ip = std::get_if<IpAddress>(&what)) {
    return std::ranges::binary_search(ips, *ip);
  }
  if (const auto* const cidr = std::get_if<IpPrefix>(&what)) {
    return std::ranges::binary_search(cidrs, *cidr);
  }
  return std::ranges::binary_search(countries, std::get<std::string>(what));
}

Rule RuleSet::at(std::size_t index) const {
  MC_ASSERT(index < size(), "only what is there has a place");
  if (index < ips.size()) return Rule(ips[index]);
  index -= ips.size();
  if (index < cidrs.size()) return Rule(cidrs[index]);
  return Rule(countries[index - cidrs.size()]);
}

void RuleSet::append(const Rule& rule) {
  const auto& what = rule.what();
  if (const auto* const ip = std::get_if<IpAddress>(&what)) {
    ips.push_back(*ip);
  } else if (const auto* const cidr = std::get_if<IpPrefix>(&what)) {
    cidrs.push_back(*cidr);
  } else {
    countries.push_back(std::get<std::string>(what));
  }
}

RuleSet changed(const RuleSet& base, const std::vector<Rule>& added,
                const std::vector<Rule>& removed) {
  const RuleSet plus = by_type(added);
  const RuleSet minus = by_type(removed);
  return RuleSet{.ips = merged(base.ips, plus.ips, minus.ips),
                 .cidrs = merged(base.cidrs, plus.cidrs, minus.cidrs),
                 .countries = merged(base.countries, plus.countries, minus.countries)};
}

policy::Firewall changed(const policy::Firewall& before, const RuleSet& base, const RuleSet& next) {
  policy::Firewall firewall = before;
  if (next.ips != base.ips) firewall = firewall.with_ips(next.ips);
  if (next.cidrs != base.cidrs) firewall = firewall.with_cidrs(next.cidrs);
  if (next.countries != base.countries) firewall = firewall.with_countries(next.countries);
  return firewall;
}

}  // namespace mc::control
