// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes the policies that the data plane follows, from the configuration and the GeoIP database.
// One thread.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "config/config.hpp"
#include "policy/policy.hpp"

namespace mc::app {

class PolicySource {
 public:
  /// Indexes routes and rules, and reads the GeoIP database if a country rule needs it.
  static Result<PolicySource> from(const config::Config& config);

  /// Reads the database anew. On an error the one that was read before stays in use.
  Result<void> reload_geoip();

  /// The policy of everything as it is now; each has a revision of its own.
  std::unique_ptr<const policy::Policy> make();

 private:
  PolicySource(std::string geoip_path, policy::Firewall firewall,
               std::vector<policy::RouteTable> routes);

  std::string geoip_path_;  // empty: no country rule, and none can be added
  policy::Firewall firewall_;
  std::vector<policy::RouteTable> routes_;
  std::uint64_t revision_ = 0;
};

}  // namespace mc::app
