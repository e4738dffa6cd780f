// SPDX-License-Identifier: Apache-2.0
#include "app/policy_source.hpp"

#include <utility>

#include "policy/geoip.hpp"

namespace mc::app {

Result<PolicySource> PolicySource::from(const config::Config& config) {
  std::vector<policy::RouteTable> tables;
  for (const config::Listener& listener : config.listeners) {
    std::vector<policy::Route> routes;
    for (const config::Route& route : listener.routes) {
      routes.push_back({route.hostname, route.backend});
    }
    tables.push_back(policy::RouteTable::build(std::move(routes)));
  }
  const config::Firewall& rules = config.firewall;
  std::shared_ptr<const policy::GeoIp> geoip;
  const bool countries = !rules.blocked_countries.empty();
  if (countries) {
    auto opened = policy::GeoIp::open(rules.geoip_db);
    if (!opened.has_value()) return std::unexpected(opened.error());
    geoip = std::move(*opened);
  }
  policy::Firewall firewall({rules.blocked_ips, rules.blocked_cidrs, rules.blocked_countries},
                            std::move(geoip));
  return PolicySource(countries ? rules.geoip_db : "", std::move(firewall), std::move(tables));
}

PolicySource::PolicySource(std::string geoip_path, policy::Firewall firewall,
                           std::vector<policy::RouteTable> routes)
    : geoip_path_(std::move(geoip_path)),
      firewall_(std::move(firewall)),
      routes_(std::move(routes)) {}

Result<void> PolicySource::reload_geoip() {
  if (geoip_path_.empty()) return fail("no country rule is set, so no database is in use");
  auto opened = policy::GeoIp::open(geoip_path_);
  if (!opened.has_value()) return std::unexpected(opened.error());
  firewall_ = firewall_.with_geoip(std::move(*opened));
  return {};
}

std::unique_ptr<const policy::Policy> PolicySource::make() {
  return std::make_unique<const policy::Policy>(
      ++revision_, std::make_shared<const policy::Firewall>(firewall_), routes_);
}

}  // namespace mc::app
