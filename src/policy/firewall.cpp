// SPDX-License-Identifier: Apache-2.0
#include "policy/firewall.hpp"

#include <absl/container/flat_hash_set.h>
#include <absl/hash/hash.h>

#include <cstring>
#include <utility>

#include "base/assert.hpp"

namespace mc::policy {
namespace {

using CountrySet = std::bitset<CountryCode::kCount>;

CountrySet country_set(std::span<const std::string> names) {
  CountrySet set;
  for (const std::string& name : names) {
    const auto code = CountryCode::from(name);
    MC_ASSERT(code, "a country rule reached the firewall without validation");
    set.set(code->index());
  }
  return set;
}

struct HashAddress {
  std::size_t operator()(const IpAddress& address) const {
    std::uint64_t halves[2];
    static_assert(sizeof(halves) == sizeof(IpAddress::Bytes));
    std::memcpy(halves, address.bytes().data(), sizeof(halves));
    return absl::HashOf(halves[0], halves[1]);
  }
};

}  // namespace

/// Addresses that are blocked one by one.
class Firewall::IpSet {
 public:
  explicit IpSet(std::span<const IpAddress> ips) : ips_(ips.begin(), ips.end()) {}

  [[nodiscard]] bool contains(const IpAddress& address) const { return ips_.contains(address); }

 private:
  absl::flat_hash_set<IpAddress, HashAddress> ips_;
};

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllowed:
      return "allowed";
    case Verdict::kBlockedIp:
      return "blocked_ip";
    case Verdict::kBlockedCidr:
      return "blocked_cidr";
    case Verdict::kBlockedCountry:
      return "blocked_country";
  }
  std::unreachable();
}

Firewall::Firewall() : Firewall(FirewallRules{}) {}

Firewall::Firewall(const FirewallRules& rules, std::shared_ptr<const GeoIp> geoip)
    : Firewall(std::make_shared<const IpSet>(rules.ips),
               std::make_shared<const CidrIndex>(rules.cidrs), country_set(rules.countries),
               std::move(geoip)) {}

Firewall::Firewall(std::shared_ptr<const IpSet> ips, std::shared_ptr<const CidrIndex> cidrs,
                   const CountrySet& countries, std::shared_ptr<const GeoIp> geoip)
    : ips_(std::move(ips)),
      cidrs_(std::move(cidrs)),
      countries_(countries),
      geoip_(std::move(geoip)) {
  MC_ASSERT(geoip_ || countries_.none(), "country rules without a database would block nobody");
}

Firewall Firewall::with_ips(std::span<const IpAddress> ips) const {
  return Firewall(std::make_shared<const IpSet>(ips), cidrs_, countries_, geoip_);
}

Firewall Firewall::with_cidrs(std::span<const IpPrefix> cidrs) const {
  return Firewall(ips_, std::make_shared<const CidrIndex>(cidrs), countries_, geoip_);
}

Firewall Firewall::with_countries(std::span<const std::string> countries) const {
  return Firewall(ips_, cidrs_, country_set(countries), geoip_);
}

Firewall Firewall::with_geoip(std::shared_ptr<const GeoIp> geoip) const {
  return Firewall(ips_, cidrs_, countries_, std::move(geoip));
}

Verdict Firewall::check(const IpAddress& address) const {
  if (ips_->contains(address)) return Verdict::kBlockedIp;
  if (cidrs_->contains(address)) return Verdict::kBlockedCidr;
  if (countries_.none()) return Verdict::kAllowed;
  const auto country = geoip_->country(address);
  const bool is_blocked = country && countries_.test(country->index());
  return is_blocked ? Verdict::kBlockedCountry : Verdict::kAllowed;
}

std::optional<IpPrefix> Firewall::blocked_cidr(const IpAddress& address) const {
  return cidrs_->longest_match(address);
}

}  // namespace mc::policy
