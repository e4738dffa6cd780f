// SPDX-License-Identifier: Apache-2.0
// How the control plane begins: the database, its seed, and the first state.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "base/clock.hpp"
#include "base/quote.hpp"
#include "config/rules.hpp"
#include "control/audit_text.hpp"
#include "control/control.hpp"
#include "control/wall_clock.hpp"

namespace mc::control {
namespace {

// For an invalid record. Records were validated before they were committed, so another program
// wrote it, or the configuration has changed.
std::unexpected<Error> fail_with_record(const std::string& path, const std::string& record,
                                        const std::string& why) {
  return fail(fmt::format("database {}: {}: {}", quote(path), record, why));
}

constexpr const char* kEdited =
    "; somebody edited the database: correct the record with sqlite3, or restore a backup";

// What the configuration seeds a new database with.
Specification specification_of(const config::Config& config) {
  Specification specification;
  for (const config::Listener& listener : config.listeners) {
    specification.routes.push_back(listener.routes);
  }
  specification.pools = config.pools;
  const config::Firewall& firewall = config.firewall;
  specification.rules = {firewall.blocked_ips, firewall.blocked_cidrs, firewall.blocked_countries};
  specification.rules.normalise();
  return specification;
}

// An operator may add a rule to the file although the database exists, and must learn that it has
// no effect.
void warn_of_what_is_not_in_force(const Specification& configured, const State& state, Log& log) {
  std::size_t routes = 0;
  std::size_t rules = 0;
  for (std::size_t i = 0; i < configured.routes.size(); ++i) {
    for (const policy::Route& route : configured.routes[i]) {
      if (state.routes[i].by_key(route.pattern, route.match) == nullptr) ++routes;
    }
  }
  for (std::size_t i = 0; i < configured.rules.size(); ++i) {
    if (!state.rules->contains(configured.rules.at(i))) ++rules;
  }
  const auto pools = static_cast<std::size_t>(std::ranges::count_if(
      configured.pools,
      [&](const policy::Pool& pool) { return !state.pools->contains(pool.name); }));
  if (routes == 0 && rules == 0 && pools == 0) return;
  log.warn(
      "the configuration has routes, rules or pools that the database does not have; they are not "
      "in force, because they only seed a new one: add them while it runs, or remove them from the "
      "file",
      {{"routes", routes}, {"rules", rules}, {"pools", pools}});
}

std::string record_of(const store::RouteRecord& route) {
  return fmt::format("the route {} -> {} of listener {}",
                     policy::quoted(route.text.hostname, route.text.match),
                     quote(policy::target_of(route.text)), quote(route.listener));
}

Result<RuleSet> read_rules(const std::string& path,
                           const std::vector<store::FirewallRule>& records) {
  RuleSet rules;
  for (const store::FirewallRule& record : records) {
    const std::string name =
        fmt::format("the firewall rule {} {}", printable(record.type), quote(record.value));
    const auto type = rule_type_of(record.type);
    if (!type.has_value()) {
      return fail_with_record(path, name,
                              std::string("the type is none of ip, cidr, country") + kEdited);
    }
    const auto rule = Rule::parse(*type, record.value);
    if (!rule) return fail_with_record(path, name, rule.error().message + kEdited);
    rules.append(*rule);
  }
  rules.normalise();
  return rules;
}

Result<std::vector<policy::Pool>> read_pools(const std::string& path,
                                             const std::vector<store::PoolRecord>& records) {
  std::vector<policy::Pool> pools;
  for (const store::PoolRecord& record : records) {
    auto pool = policy::parse_pool(record);
    if (!pool.has_value()) {
      const policy::PoolError& error = pool.error().front();
      std::string where(error.field);
      if (error.backend.has_value()) {
        where =
            fmt::format("{} of backend {}", where, quote(record.backends[*error.backend].address));
      }
      return fail_with_record(path, fmt::format("the pool {}", quote(record.name)),
                              where + ": " + describe(error) + kEdited);
    }
    pools.push_back(*std::move(pool));
  }
  return pools;
}

// An answer that is not usable is as good as none.
policy::ResolvedNames read_resolved(const std::vector<store::ResolvedRecord>& records) {
  policy::ResolvedNames resolved;
  for (const store::ResolvedRecord& record : records) {
    std::vector<IpAddress>& addresses = resolved[record.name];
    for (const auto part : std::views::split(record.addresses, ' ')) {
      const auto address = IpAddress::parse(std::string_view(part));
      if (address.has_value()) addresses.push_back(*address);
    }
  }
  return resolved;
}

// The routes of listeners that are not configured, or only redirect, are set aside; see
// assign_routes().
Result<Specification> read_records(const std::string& path, const store::Contents& contents,
                                   const Listeners& listeners) {
  Specification specification;
  specification.routes.resize(listeners.size());
  auto pools = read_pools(path, contents.pools);
  if (!pools.has_value()) return std::unexpected(pools.error());
  std::set<std::string_view> names;
  for (const policy::Pool& pool : *pools) names.insert(pool.name);
  for (const store::RouteRecord& record : contents.routes) {
    const auto listener = listeners.find_name(record.listener);
    if (!listener.has_value() || listeners.only_redirects(*listener)) {
      specification.aside.push_back(record);
      continue;
    }
    auto route = policy::parse_recorded_route(record.text);
    if (!route.has_value()) {
      return fail_with_record(path, record_of(record), route.error().message + kEdited);
    }
    if (route->pool() != nullptr && !names.contains(*route->pool())) {
      return fail_with_record(path, record_of(record),
                              std::string("there is no such pool") + kEdited);
    }
    specification.routes[*listener].push_back(*std::move(route));
  }
  specification.pools = *std::move(pools);
  specification.resolved = read_resolved(contents.resolved);
  auto rules = read_rules(path, contents.rules);
  if (!rules.has_value()) return std::unexpected(rules.error());
  specification.rules = *std::move(rules);
  return specification;
}

// A rehearsal changes nothing, so there is nothing to enforce.
class NoEnforcer final : public Enforcer {
 public:
  void cut(const std::shared_ptr<const policy::Firewall>&) override {}
  void cut_draining(const std::vector<Rule>&) override {}
};

}  // namespace

Result<std::unique_ptr<Control>> Control::open(const config::Config& config,
                                               policy::PublishedPolicy& published,
                                               Enforcer& enforcer, Log& log) {
  std::unique_ptr<Control> control(new Control(config, published, enforcer, log));
  auto contents = control->database_.open();
  if (!contents.has_value()) return std::unexpected(contents.error());
  if (auto loaded = control->load(config, *std::move(contents)); !loaded.has_value()) {
    return std::unexpected(loaded.error());
  }
  published.publish(control->state()->policy());
  return control;
}

Result<Rehearsal> Control::rehearse(const config::Config& config, Log& log) {
  auto contents = store::Store::inspect(config.database.path);
  if (!contents.has_value()) return std::unexpected(contents.error());
  policy::PublishedPolicy nowhere(State().policy(), 0);
  NoEnforcer nobody;
  Control control(config, nowhere, nobody, log);
  auto assignment = control.load(config, *std::move(contents));
  if (!assignment.has_value()) return std::unexpected(assignment.error());
  return Rehearsal{.state = control.state(),
                   .is_new = control.seed_.has_value(),
                   .left_behind = std::move(assignment->left_behind)};
}

Control::Control(const config::Config& config, policy::PublishedPolicy& published,
                 Enforcer& enforcer, Log& log)
    : geoip_path_(config.firewall.geoip_db),
      cut_established_(config.firewall.cut_established),
      listeners_(config.listeners),
      log_(log),
      published_(published),
      enforcer_(enforcer),
      database_(config.database.path, warnings_, log) {}

Result<void> Control::seed() {
  const std::lock_guard writer(writer_);
  if (!seed_.has_value()) return {};
  const auto committed =
      database_.commit(*seed_, {wall_clock(), "configuration", "seed", audit_text_of_seed(*seed_)});
  if (!committed.has_value()) return fail(committed.error().message);
  MC_ASSERT(*committed == state()->revision, "nobody else commits");
  seed_.reset();
  log_.info("database is new, seeded from the configuration", {{"path", database_.path()}});
  if (const std::string missed = database_.volume_missed(); !missed.empty()) {
    log_.warn(
        "the new database seems to be where a volume should be mounted; if there is one with a "
        "database, stop the server, mount it and start the server again",
        {{"directory", missed}});
  }
  return {};
}

Assignment Control::assign_routes(store::Contents& contents) {
  Assignment assignment = assign(contents.routes, listeners_);
  rename(contents.routes, assignment, listeners_);
  record_names_ = assignment.record_names;
  for (const auto& [listener, routes] : assignment.left_behind) {
    log_.warn(
        "the database has routes of a listener that is not configured, or only redirects; they are "
        "kept, unused: "
        "mc-proxy routes move FROM TO gives them to another",
        {{"listener", listener}, {"routes", routes}});
  }
  return assignment;
}

Result<Assignment> Control::load(const config::Config& config, store::Contents contents) {
  const bool is_new = contents.revision == 0;
  Assignment assignment = assign_routes(contents);
  const Specification configured = specification_of(config);
  if (is_new) {
    seed_ = to_records(difference_from_nothing(configured), record_names_);
    // The seed will be the first revision.
    if (auto made = make_state(configured, 1); !made.has_value()) {
      return std::unexpected(made.error());
    }
    return assignment;
  }
  const auto recorded = read_records(database_.path(), contents, listeners_);
  if (!recorded.has_value()) return std::unexpected(recorded.error());
  if (auto made = make_state(*recorded, contents.revision); !made.has_value()) {
    return std::unexpected(made.error());
  }
  warn_of_what_is_not_in_force(configured, *state_, log_);
  warn_of_missing_pools();
  return assignment;
}

Result<void> Control::make_state(const Specification& specification, store::Revision revision) {
  auto state = std::make_shared<State>();
  state->revision = revision;
  for (std::size_t i = 0; i < specification.routes.size(); ++i) {
    std::vector<policy::LiveRoute> routes;
    routes.reserve(specification.routes[i].size());
    for (const policy::Route& route : specification.routes[i]) {
      warn_of_loop(i, route);
      routes.push_back({.spec = route});
    }
    state->routes.push_back(policy::RouteTable::build(std::move(routes)));
  }
  state->resolved = std::make_shared<const policy::ResolvedNames>(specification.resolved);
  policy::LivePools pools;
  for (const policy::Pool& pool : specification.pools) {
    warn_of_loop(pool);
    pools.emplace(pool.name, std::make_shared<const policy::LivePool>(pool, *state->resolved,
                                                                      nullptr, Clock::now()));
  }
  state->pools = std::make_shared<const policy::LivePools>(std::move(pools));
  state->aside = std::make_shared<const std::vector<store::RouteRecord>>(specification.aside);
  const RuleSet& rules = specification.rules;
  auto geoip = open_geoip(rules);
  if (!geoip) return std::unexpected(geoip.error());
  state->firewall = policy::Firewall({rules.ips, rules.cidrs, rules.countries}, *std::move(geoip));
  state->rules = std::make_shared<const RuleSet>(rules);
  state_ = std::move(state);
  return {};
}

void Control::warn_of_missing_pools() const {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    for (const PoolUse& use : listeners_.pools(i)) {
      if (state_->pools->contains(use.pool)) continue;
      log_.warn(
          "a listener sends clients to a pool that the database does not have; they are refused "
          "until it is added: mc-proxy pools add",
          {{"listener", listeners_.name(i)}, {"pool", use.pool}, {"clients", use.clients}});
    }
  }
}

void Control::warn_of_loop(std::size_t listener, const policy::Route& route) const {
  if (route.backend() == nullptr) return;
  const auto reached = listeners_.reached_by(*route.backend());
  if (!reached.has_value()) return;
  log_.warn("a route leads back to a listener; its clients are reset until it is changed",
            {{"listener", listeners_.name(listener)},
             {"hostname", route.pattern.text()},
             {"backend", policy::target_of(route)},
             {"reaches", listeners_.name(*reached)}});
}

void Control::warn_of_loop(const policy::Pool& pool) const {
  for (const policy::Backend& backend : pool.backends) {
    const auto reached = listeners_.reached_by(backend.address);
    if (!reached.has_value()) continue;
    log_.warn("a backend of a pool leads back to a listener; it serves nobody until it is changed",
              {{"pool", pool.name},
               {"backend", backend.address.to_string()},
               {"reaches", listeners_.name(*reached)}});
  }
}

Result<std::shared_ptr<const policy::GeoIp>> Control::open_geoip(const RuleSet& rules) const {
  const bool needed = !rules.countries.empty();
  if (geoip_path_.empty()) {
    if (!needed) return nullptr;
    return fail(
        fmt::format("firewall: geoip_db is required: the database blocks countries ({}); write "
                    "[firewall] geoip_db = \"/srv/mc-proxy/GeoLite2-Country.mmdb\", or remove the "
                    "rules: sqlite3 {} \"DELETE FROM firewall_rules WHERE type = 'country'\"",
                    fmt::join(rules.countries, ", "), printable(database_.path())));
  }
  auto opened = policy::GeoIp::open(geoip_path_);
  if (opened.has_value()) return *std::move(opened);
  if (needed) return fail("firewall: geoip_db is required: " + opened.error().message);
  log_.warn("the GeoIP database cannot be read; no country rule needs it now",
            {{"error", opened.error().message}});
  return nullptr;
}

}  // namespace mc::control
