// SPDX-License-Identifier: Apache-2.0
#pragma once
// The clients that the proxy does not serve: addresses, blocks and countries, as one immutable
// value. It decides by the peer's address alone, before any session exists. Rules come in
// validated; a changed firewall shares the unchanged parts with the one before it.

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/ip.hpp"
#include "policy/cidr_index.hpp"
#include "policy/country_code.hpp"
#include "policy/geoip.hpp"

namespace mc::policy {

/// The firewall's verdict on an address. The first kind of rule that matches, in this order, names
/// it.
enum class Verdict : std::uint8_t { kAllowed, kBlockedIp, kBlockedCidr, kBlockedCountry };

/// "allowed", "blocked_ip", "blocked_cidr" or "blocked_country".
std::string_view to_string(Verdict verdict);

/// The rules as operators give them: in any order; repeated ones count once.
struct FirewallRules {
  std::vector<IpAddress> ips;
  std::vector<IpPrefix> cidrs;
  std::vector<std::string> countries;  // each is what CountryCode::from() takes
};

/// A value that copies in a few instructions; any thread.
class Firewall {
 public:
  /// Allows everyone.
  Firewall();
  /// Country rules need a database: `geoip` may be null only where there are none.
  explicit Firewall(const FirewallRules& rules, std::shared_ptr<const GeoIp> geoip = nullptr);

  /// This firewall with one part replaced. The others are shared, so that a new rule for one
  /// address does not wait until a million blocks are indexed again. Country rules need a database
  /// here too.
  [[nodiscard]] Firewall with_ips(std::span<const IpAddress> ips) const;
  [[nodiscard]] Firewall with_cidrs(std::span<const IpPrefix> cidrs) const;
  [[nodiscard]] Firewall with_countries(std::span<const std::string> countries) const;
  [[nodiscard]] Firewall with_geoip(std::shared_ptr<const GeoIp> geoip) const;

  /// Whether a client with this address is served. Country rules do not block an address for which
  /// the database has no country.
  [[nodiscard]] Verdict check(const IpAddress& address) const;

  /// The longest blocked CIDR that holds the address, for logs: much dearer than check().
  [[nodiscard]] std::optional<IpPrefix> blocked_cidr(const IpAddress& address) const;

  /// May be null.
  [[nodiscard]] const std::shared_ptr<const GeoIp>& geoip() const { return geoip_; }

 private:
  class IpSet;
  using CountrySet = std::bitset<CountryCode::kCount>;

  Firewall(std::shared_ptr<const IpSet> ips, std::shared_ptr<const CidrIndex> cidrs,
           const CountrySet& countries, std::shared_ptr<const GeoIp> geoip);

  std::shared_ptr<const IpSet> ips_;
  std::shared_ptr<const CidrIndex> cidrs_;
  CountrySet countries_;
  std::shared_ptr<const GeoIp> geoip_;  // not null where there are countries
};

}  // namespace mc::policy
