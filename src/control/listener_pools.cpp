// SPDX-License-Identifier: Apache-2.0
#include "control/listener_pools.hpp"

namespace mc::control {

std::vector<PoolUse> pools_named_by(const policy::ListenerSettings& settings) {
  std::vector<PoolUse> uses;
  const auto add = [&](const std::string& pool, std::string_view clients) {
    if (!pool.empty()) uses.push_back({.pool = pool, .clients = clients});
  };
  add(settings.no_sni, "clients without a server name");
  add(settings.not_tls, "clients without TLS");
  if (settings.silent.has_value()) add(settings.silent->pool, "silent clients");
  if (settings.redirect.has_value()) add(settings.redirect->challenge_pool, "ACME challenges");
  return uses;
}

}  // namespace mc::control
