// SPDX-License-Identifier: Apache-2.0
// Any text as a configuration. Beyond memory safety it checks what an operator relies on: a text is
// either a valid configuration, or readable problems, each on one line, in the order of the file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/rules.hpp"
#include "net/socket_address.hpp"

namespace {

using namespace mc::config;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

void check_problems(const std::vector<Problem>& problems) {
  require(!problems.empty(), "a refusal has a problem");
  for (const Problem& problem : problems) {
    require(!problem.message.empty(), "a problem says what is wrong");
    require(std::ranges::none_of(problem.to_string(), is_control),
            "a problem is one printable line");
    require((problem.position.line == 0) == (problem.position.column == 0), "a place is whole");
  }
  require(std::ranges::is_sorted(problems, {}, &Problem::position), "problems are in order");
  require(to_string(problems).ends_with('\n'), "problems are whole lines");
}

void check_pools(const std::vector<mc::policy::Pool>& pools) {
  std::set<std::string> names;
  for (const mc::policy::Pool& pool : pools) {
    require(names.insert(pool.name).second, "a pool's name is its own");
    require(!pool.backends.empty(), "a pool has a backend");
    const auto again = mc::policy::parse_pool(to_text(pool));
    require(again && *again == pool, "a pool is in normal form");
  }
}

void check_settings(const Config& config, const Listener& listener) {
  const mc::policy::ListenerSettings& settings = listener.settings;
  const auto require_pool = [&](const std::string& name) {
    require(name.empty() || std::ranges::find(config.pools, name, &mc::policy::Pool::name) !=
                                config.pools.end(),
            "a listener's pool is there");
  };
  require_pool(settings.no_sni);
  require_pool(settings.not_tls);
  require(settings.hello_timeout.count() > 0, "a listener's hello has a deadline");
  if (settings.silent) {
    require_pool(settings.silent->pool);
    require(settings.silent->after < settings.hello_timeout, "silence ends before the hello");
  }
  if (settings.proxy_header) require(!settings.proxy_header->from.empty(), "senders are named");
  if (!settings.redirect) return;
  require_pool(settings.redirect->challenge_pool);
  require(listener.routes.empty(), "a redirect has no routes");
  require(!settings.redirect->listeners.empty(), "a redirect has listeners");
  for (const std::size_t place : settings.redirect->listeners) {
    require(place < config.listeners.size() && !config.listeners[place].settings.redirect,
            "a redirect's listener has routes");
  }
}

void check_config(const Config& config) {
  require(!config.listeners.empty(), "there is a listener");
  require(!config.database.path.empty(), "there is a database");
  for (const Listener& listener : config.listeners) {
    const auto addr = mc::SocketAddress::parse_listen(listener.name);
    require(addr && *addr == listener.addr, "a listener's name is its address");
    check_settings(config, listener);
    for (const mc::policy::Route& route : listener.routes) {
      const auto pattern = mc::policy::parse_hostname(route.pattern.text());
      require(pattern && *pattern == route.pattern, "a host name is in normal form");
      if (const auto* const backend = route.backend()) {
        require(backend->port() != 0, "a backend has a port");
      } else {
        const auto named = [&](const mc::policy::Pool& pool) { return pool.name == *route.pool(); };
        require(std::ranges::any_of(config.pools, named), "a route's pool is there");
      }
    }
  }
  check_pools(config.pools);
  for (const std::string& country : config.firewall.blocked_countries) {
    const auto code = parse_blocked_country(country);
    require(code && *code == country, "a country is a code in capitals");
  }
  require(config.firewall.blocked_countries.empty() || !config.firewall.geoip_db.empty(),
          "country rules have a database");
  if (config.grpc) {
    require(config.grpc->addr || !config.grpc->socket.empty(), "the admin API can be reached");
    require(!config.grpc->addr || !config.grpc->client_ca.empty(), "TCP has mutual TLS");
  }
  require(config.dns.ttl_min <= config.dns.ttl_max, "an answer's times are in order");
  require(config.proxy.hello_timeout.count() > 0, "a hello has a deadline");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Parsed parsed = load_from_text(text, "fuzz.toml", NamedFiles::kIgnored);
  parsed ? check_config(*parsed) : check_problems(parsed.error());
  return 0;
}
