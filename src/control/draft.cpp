// SPDX-License-Identifier: Apache-2.0
#include "control/draft.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <tuple>
#include <utility>

#include "base/clock.hpp"
#include "base/quote.hpp"
#include "control/limits.hpp"
#include "policy/limits.hpp"

namespace mc::control {
namespace {

// Collects the violations of a request's changes.
class Violations {
 public:
  void add(std::size_t index, Field field, std::string description,
           std::optional<std::size_t> backend = std::nullopt) {
    if (refusal_.violations.size() < kMax) {
      refusal_.violations.push_back({index, field, std::move(description), backend});
    } else {
      ++refusal_.violations_more;
    }
  }
  [[nodiscard]] bool none() const { return refusal_.violations.empty(); }
  Refusal refusal() && { return std::move(refusal_); }

  /// The value, or nothing and a violation.
  template <class T>
  std::optional<T> check(std::size_t index, Field field, Result<T> parsed) {
    if (parsed.has_value()) return *std::move(parsed);
    add(index, field, std::move(parsed.error().message));
    return std::nullopt;
  }

 private:
  static constexpr std::size_t kMax = kViolationsMax;
  Refusal refusal_{RefusalKind::kInvalid, {}, {}, 0, std::nullopt};
};

// The listener whose routes are to change.
Outcome<std::size_t> find_routed(const Listeners& listeners, const std::string& name) {
  const auto found = listeners.find(name);
  if (!found) return refuse(RefusalKind::kNotFound, listeners.unknown(name));
  if (!listeners.only_redirects(*found)) return *found;
  return refuse(RefusalKind::kFailedPrecondition, listeners.no_routes(*found));
}

std::string quoted(const RouteKey& key) {
  return policy::quoted(key.pattern.text(), to_text(key.match));
}

// Turns the texts of changes into values, one by one.
class Validator {
 public:
  explicit Validator(const Listeners& listeners) : listeners_(listeners) {}

  void at(std::size_t index) { index_ = index; }

  std::optional<ValidChange> operator()(std::monostate) {
    violations_.add(index_, Field(),
                    "no change is set; set one of add_route, put_route, remove_route, "
                    "add_firewall_rule, put_firewall_rule, remove_firewall_rule, add_pool, "
                    "put_pool, remove_pool, add_backend, put_backend, remove_backend, "
                    "set_backend_state");
    return std::nullopt;
  }
  std::optional<ValidChange> operator()(const AddRoute& change) {
    return route(ValidRoute::Op::kAdd, change.listener, change.route);
  }
  std::optional<ValidChange> operator()(const PutRoute& change) {
    return route(ValidRoute::Op::kPut, change.listener, change.route);
  }
  std::optional<ValidChange> operator()(const RemoveRoute& change) {
    const auto listener = find(change.listener);
    auto hostname =
        violations_.check(index_, kHostnameField, policy::parse_hostname(change.hostname));
    auto match = policy::parse_match(change.match);
    if (!match) add_of_route(std::move(match.error()));
    if (!listener || !hostname || !match) return std::nullopt;
    return ValidRoute{ValidRoute::Op::kRemove,
                      {*listener, *std::move(hostname), *std::move(match)},
                      std::nullopt};
  }
  std::optional<ValidChange> operator()(const AddRule& change) {
    return rule(ValidRule::Op::kAdd, change.rule);
  }
  std::optional<ValidChange> operator()(const PutRule& change) {
    return rule(ValidRule::Op::kPut, change.rule);
  }
  std::optional<ValidChange> operator()(const RemoveRule& change) {
    return rule(ValidRule::Op::kRemove, change.rule);
  }
  std::optional<ValidChange> operator()(const AddPool& change) {
    return pool(ValidPool::Op::kAdd, change.pool);
  }
  std::optional<ValidChange> operator()(const PutPool& change) {
    return pool(ValidPool::Op::kPut, change.pool);
  }
  std::optional<ValidChange> operator()(const RemovePool& change) {
    auto name = violations_.check(index_, kPoolNameField, policy::parse_pool_name(change.name));
    if (!name) return std::nullopt;
    return ValidPool{ValidPool::Op::kRemove, *std::move(name), std::nullopt};
  }
  std::optional<ValidChange> operator()(const AddBackend& change) {
    return backend(ValidBackend::Op::kAdd, change.pool, change.backend);
  }
  std::optional<ValidChange> operator()(const PutBackend& change) {
    return backend(ValidBackend::Op::kPut, change.pool, change.backend);
  }
  std::optional<ValidChange> operator()(const RemoveBackend& change) {
    return backend_named(ValidBackend::Op::kRemove, change.pool, change.address);
  }
  std::optional<ValidChange> operator()(const SetBackendState& change) {
    auto valid = backend_named(ValidBackend::Op::kSetState, change.pool, change.address);
    if (valid.has_value()) valid->backend.state = change.state;
    return valid;
  }

  /// The refusal if a change names a listener that does not exist (kNotFound), or that only
  /// redirects (kFailedPrecondition).
  [[nodiscard]] const std::optional<Refusal>& unfit_listener() const { return unfit_listener_; }
  Violations& violations() { return violations_; }

 private:
  std::optional<std::size_t> find(const std::string& name) {
    auto found = find_routed(listeners_, name);
    if (found.has_value()) return *found;
    if (!unfit_listener_) {
      unfit_listener_ = std::move(found.error());
      unfit_listener_->index = index_;
    }
    return std::nullopt;
  }

  std::optional<ValidChange> route(ValidRoute::Op op, const std::string& listener_name,
                                   const policy::RouteText& text) {
    const auto listener = find(listener_name);
    auto route = policy::parse_route(text);
    if (!route) {
      add_of_route(std::move(route.error()));
      return std::nullopt;
    }
    const BackendAddress* const address = route->backend();
    if (address != nullptr && leads_back(*address, kBackendField)) return std::nullopt;
    if (!listener) return std::nullopt;
    RouteKey key{*listener, route->pattern, route->match};
    return ValidRoute{op, std::move(key), *std::move(route)};
  }

  void add_of_route(std::vector<policy::RouteError> errors) {
    for (policy::RouteError& error : errors) {
      violations_.add(index_, {Field::Of::kRoute, error.field}, std::move(error.message));
    }
  }

  std::optional<ValidChange> rule(ValidRule::Op op, const RuleText& text) {
    if (text.type == RuleType::kUnspecified) {
      violations_.add(index_, kRuleTypeField, "no type is given; it is one of IP, CIDR, COUNTRY");
      return std::nullopt;
    }
    auto rule = violations_.check(index_, kRuleValueField, Rule::parse(text.type, text.value));
    if (!rule) return std::nullopt;
    return ValidRule{op, *std::move(rule)};
  }

  std::optional<ValidChange> pool(ValidPool::Op op, const policy::PoolText& text) {
    auto pool = policy::parse_pool(text);
    if (!pool) {
      for (const policy::PoolError& error : pool.error()) {
        violations_.add(index_, {Field::Of::kPool, error.field}, describe(error), error.backend);
      }
      return std::nullopt;
    }
    bool is_loop = false;
    for (std::size_t i = 0; i < pool->backends.size(); ++i) {
      is_loop |= leads_back(pool->backends[i].address, {Field::Of::kPool, "address"}, i);
    }
    if (is_loop) return std::nullopt;
    std::string name = pool->name;
    return ValidPool{op, std::move(name), *std::move(pool)};
  }

  std::optional<ValidChange> backend(ValidBackend::Op op, const std::string& pool,
                                     const policy::BackendText& text) {
    auto name = violations_.check(index_, kPoolField, policy::parse_pool_name(pool));
    auto backend = policy::parse_pool_backend(text);
    if (!backend) {
      for (const policy::PoolError& error : backend.error()) {
        violations_.add(index_, {Field::Of::kBackend, error.field}, describe(error));
      }
      return std::nullopt;
    }
    if (leads_back(backend->address, {Field::Of::kBackend, "address"}) || !name) {
      return std::nullopt;
    }
    return ValidBackend{op, *std::move(name), *std::move(backend)};
  }

  // For a backend that exists. An earlier version may have accepted more addresses than are
  // accepted now.
  std::optional<ValidBackend> backend_named(ValidBackend::Op op, const std::string& pool,
                                            const std::string& text) {
    auto name = violations_.check(index_, kPoolField, policy::parse_pool_name(pool));
    auto address = violations_.check(index_, kAddressField, BackendAddress::parse(text));
    if (!name || !address) return std::nullopt;
    return ValidBackend{op, *std::move(name), {.address = *std::move(address)}};
  }

  // Whether connections to the backend would reach a listener of this proxy: then adds a violation.
  bool leads_back(const BackendAddress& address, Field field,
                  std::optional<std::size_t> backend = std::nullopt) {
    const auto reached = listeners_.reached_by(address);
    if (!reached.has_value()) return false;
    violations_.add(
        index_, field,
        fmt::format("{}: leads back to the listener {}; write where the service itself listens",
                    quote(address.to_string()), quote(listeners_.name(*reached))),
        backend);
    return true;
  }

  const Listeners& listeners_;
  std::size_t index_ = 0;
  Violations violations_;
  std::optional<Refusal> unfit_listener_;
};

Outcome<std::vector<ValidChange>> outcome_of(Validator& validator, std::vector<ValidChange> valid) {
  if (!validator.violations().none()) {
    return std::unexpected(std::move(validator.violations()).refusal());
  }
  if (validator.unfit_listener()) return std::unexpected(*validator.unfit_listener());
  return valid;
}

}  // namespace

Outcome<std::vector<ValidChange>> validate(std::span<const Change> changes,
                                           const Listeners& listeners) {
  if (changes.size() > kChangesMax) {
    return refuse(RefusalKind::kTooMany,
                  fmt::format("{} changes; one request takes at most {}: send them in parts",
                              changes.size(), kChangesMax));
  }
  Validator validator(listeners);
  std::vector<ValidChange> valid;
  valid.reserve(changes.size());
  for (std::size_t i = 0; i < changes.size(); ++i) {
    validator.at(i);
    if (auto change = std::visit(validator, changes[i])) valid.push_back(*std::move(change));
  }
  return outcome_of(validator, std::move(valid));
}

Outcome<std::vector<ValidChange>> validate_routes(const std::string& listener,
                                                  std::span<const policy::RouteText> routes,
                                                  const Listeners& listeners) {
  if (routes.size() > kChangesMax) {
    return refuse(RefusalKind::kTooMany,
                  fmt::format("{} routes; one request takes at most {}: use ApplyChanges, in parts",
                              routes.size(), kChangesMax));
  }
  if (const auto found = find_routed(listeners, listener); !found.has_value()) {
    return std::unexpected(found.error());
  }
  Validator validator(listeners);
  std::vector<ValidChange> valid;
  valid.reserve(routes.size());
  std::map<RouteKey, std::size_t> first_place;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    validator.at(i);
    auto change = validator(PutRoute{listener, routes[i]});
    if (!change) continue;
    const auto [first, is_new] = first_place.try_emplace(std::get<ValidRoute>(*change).key, i);
    if (!is_new) {
      const bool is_plain = first->first.match.empty();
      validator.violations().add(
          i, kHostnameField,
          fmt::format("{}: the same host name{} as routes[{}]; leave one out",
                      quote(routes[i].hostname), is_plain ? "" : ", alpn and sources",
                      first->second));
    }
    valid.push_back(*std::move(change));
  }
  return outcome_of(validator, std::move(valid));
}

// ---- the draft

Outcome<Effect> Draft::apply(const ValidChange& change) {
  return std::visit([this](const auto& valid) { return apply(valid); }, change);
}

Outcome<Effect> Draft::apply(const ValidRoute& change) {
  const RouteKey& key = change.key;
  const auto touched = routes_.find(key);
  const std::optional<policy::Route> now =
      touched != routes_.end() ? touched->second.now : before(key);
  if (change.op == ValidRoute::Op::kAdd && now.has_value()) {
    return refuse(
        RefusalKind::kAlreadyExists,
        fmt::format("listener {} has a route for {} already, to {}; remove it first, or replace it",
                    quote(listeners_.name(key.listener)), quoted(key), policy::target_of(*now)));
  }
  if (change.op == ValidRoute::Op::kRemove && !now.has_value()) return refuse_missing(key);
  if (change.op == ValidRoute::Op::kRemove) {
    routes_.insert_or_assign(key, Touched{std::nullopt, index_});
    return Effect{Effect::Result::kRemoved, std::nullopt};
  }
  routes_.insert_or_assign(key, Touched{change.route, index_});
  if (!now.has_value()) return Effect{Effect::Result::kAdded, std::nullopt};
  if (now == change.route) return Effect{Effect::Result::kUnchanged, std::nullopt};
  return Effect{Effect::Result::kChanged, now};
}

Outcome<Effect> Draft::apply(const ValidPool& change) {
  auto done = pools_.apply(change);
  if (done.has_value() && change.op == ValidPool::Op::kRemove) {
    removed_pools_.insert_or_assign(change.name, index_);
  }
  return done;
}

Outcome<Effect> Draft::apply(const ValidRule& change) {
  const auto touched = rules_.find(change.rule);
  const bool is_there =
      touched != rules_.end() ? touched->second : base_.rules->contains(change.rule);
  const bool wanted = change.op != ValidRule::Op::kRemove;
  if (change.op == ValidRule::Op::kAdd && is_there) {
    return refuse(RefusalKind::kAlreadyExists,
                  fmt::format("there is a rule for {} {} already", to_string(change.rule.type()),
                              quote(change.rule.value())));
  }
  if (!wanted && !is_there) {
    return refuse(RefusalKind::kNotFound,
                  fmt::format("there is no rule for {} {}", to_string(change.rule.type()),
                              quote(change.rule.value())));
  }
  rules_.insert_or_assign(change.rule, wanted);
  if (!wanted) return Effect{Effect::Result::kRemoved, std::nullopt};
  return Effect{is_there ? Effect::Result::kUnchanged : Effect::Result::kAdded, std::nullopt};
}

void Draft::clear_routes(std::size_t listener) {
  base_.routes[listener].for_each([&](const policy::LiveRoute& route) {
    routes_.insert_or_assign({listener, route.spec.pattern, route.spec.match},
                             Touched{std::nullopt, std::nullopt});
  });
}

std::optional<policy::Route> Draft::before(const RouteKey& key) const {
  const policy::LiveRoute* const route = base_.routes[key.listener].by_key(key.pattern, key.match);
  if (route == nullptr) return std::nullopt;
  return route->spec;
}

std::set<policy::RouteMatch> Draft::matches_of(std::size_t listener,
                                               const policy::HostPattern& pattern) const {
  std::set<policy::RouteMatch> matches;
  if (const auto* const routes = base_.routes[listener].by_pattern(pattern)) {
    routes->for_each([&](const policy::LiveRoute& route) { matches.insert(route.spec.match); });
  }
  // The plain route's key is the first of its pattern.
  for (auto touched = routes_.lower_bound({listener, pattern});
       touched != routes_.end() && touched->first.listener == listener &&
       touched->first.pattern == pattern;
       ++touched) {
    if (touched->second.now.has_value()) {
      matches.insert(touched->first.match);
    } else {
      matches.erase(touched->first.match);
    }
  }
  return matches;
}

std::unexpected<Refusal> Draft::refuse_missing(const RouteKey& key) const {
  std::string text = fmt::format("listener {} has no route for {}",
                                 quote(listeners_.name(key.listener)), quoted(key));
  const auto others = matches_of(key.listener, key.pattern);
  std::string_view separator = "; it has: ";
  for (const policy::RouteMatch& match : others | std::views::take(kMatchesNamed)) {
    text += fmt::format("{}{}", separator, quoted(RouteKey{key.listener, key.pattern, match}));
    separator = ", ";
  }
  if (others.size() > kMatchesNamed) {
    text += fmt::format(" and {} more", others.size() - kMatchesNamed);
  }
  return refuse(RefusalKind::kNotFound, std::move(text));
}

Outcome<void> Draft::require_few_matches() const {
  for (const auto& [key, touched] : routes_) {
    if (key.match.empty() || !touched.now.has_value()) continue;
    const auto matches = matches_of(key.listener, key.pattern);
    const std::size_t count = matches.size() - matches.count({});
    if (count <= policy::kMatchesPerPatternMax) continue;
    return refuse(
        RefusalKind::kTooMany,
        fmt::format("listener {} would have {} routes for {} that ask for an alpn or for sources, "
                    "and at most {} are possible: put several networks into one route",
                    quote(listeners_.name(key.listener)), count, quote(key.pattern.text()),
                    policy::kMatchesPerPatternMax),
        touched.by);
  }
  return {};
}

Difference Draft::difference() const {
  Difference difference;
  for (const auto& [key, touched] : routes_) {
    const auto was = before(key);
    if (was != touched.now) difference.routes.push_back({key, was, touched.now});
  }
  difference.pools = pools_.difference();
  for (const auto& [rule, is_there] : rules_) {
    if (is_there == base_.rules->contains(rule)) continue;
    (is_there ? difference.added_rules : difference.removed_rules).push_back(rule);
  }
  difference.put_aside = put_aside_;
  difference.removed_aside = removed_aside_;
  return difference;
}

std::vector<Rule> Draft::wanted_rules() const {
  std::vector<Rule> wanted;
  for (const auto& [rule, is_there] : rules_) {
    if (is_there) wanted.push_back(rule);
  }
  return wanted;
}

// ---- from the difference to the next state and its records

namespace {

// Shares the pools that stay as they are.
std::shared_ptr<const policy::LivePools> changed(const policy::LivePools& base,
                                                 const std::vector<PoolChange>& changes,
                                                 const policy::ResolvedNames& resolved) {
  auto next = std::make_shared<policy::LivePools>(base);
  const Instant now = Clock::now();
  for (const PoolChange& change : changes) {
    if (!change.after.has_value()) {
      next->erase(change.name);
      continue;
    }
    std::shared_ptr<const policy::LivePool>& pool = (*next)[change.name];
    pool = std::make_shared<const policy::LivePool>(*change.after, resolved, pool.get(), now);
  }
  return next;
}

// As the store does it: removes first, then puts.
std::shared_ptr<const std::vector<store::RouteRecord>> changed(
    const std::vector<store::RouteRecord>& base, const std::vector<store::RouteRecordKey>& removed,
    const std::vector<store::RouteRecord>& put) {
  std::map<std::tuple<std::string, std::string, policy::RouteMatchText>, store::RouteRecord> by_key;
  const auto put_one = [&](const store::RouteRecord& record) {
    by_key.insert_or_assign({record.listener, record.text.hostname, record.text.match}, record);
  };
  std::ranges::for_each(base, put_one);
  for (const auto& [listener, hostname, match] : removed) by_key.erase({listener, hostname, match});
  std::ranges::for_each(put, put_one);
  auto next = std::make_shared<std::vector<store::RouteRecord>>();
  next->reserve(by_key.size());
  for (auto& [key, record] : by_key) next->push_back(std::move(record));
  return next;
}

}  // namespace

State changed(const State& base, const Difference& difference) {
  State next = base;
  // The differences are ordered by listener, as in the draft's map.
  auto change = difference.routes.begin();
  while (change != difference.routes.end()) {
    const std::size_t listener = change->key.listener;
    const policy::RouteTable& before = base.routes[listener];
    policy::RouteTable::Edit edit(before);
    for (; change != difference.routes.end() && change->key.listener == listener; ++change) {
      if (!change->after.has_value()) {
        edit.remove(change->key.pattern, change->key.match);
        continue;
      }
      policy::LiveRoute route{.spec = *change->after};
      // A route with a new target keeps its counters.
      const policy::LiveRoute* const replaced =
          before.by_key(change->key.pattern, change->key.match);
      if (replaced != nullptr) route.counts = replaced->counts;
      edit.put(std::move(route));
    }
    next.routes[listener] = std::move(edit).finish();
  }
  if (!difference.added_rules.empty() || !difference.removed_rules.empty()) {
    next.rules = std::make_shared<const RuleSet>(
        changed(*base.rules, difference.added_rules, difference.removed_rules));
    next.firewall = changed(base.firewall, *base.rules, *next.rules);
  }
  if (!difference.pools.empty())
    next.pools = changed(*base.pools, difference.pools, *base.resolved);
  if (!difference.put_aside.empty() || !difference.removed_aside.empty()) {
    next.aside = changed(*base.aside, difference.removed_aside, difference.put_aside);
  }
  return next;
}

Difference difference_from_nothing(const Specification& specification) {
  Difference difference;
  for (std::size_t listener = 0; listener < specification.routes.size(); ++listener) {
    for (const policy::Route& route : specification.routes[listener]) {
      difference.routes.push_back({{listener, route.pattern, route.match}, std::nullopt, route});
    }
  }
  for (std::size_t i = 0; i < specification.rules.size(); ++i) {
    difference.added_rules.push_back(specification.rules.at(i));
  }
  for (const policy::Pool& pool : specification.pools) {
    difference.pools.push_back({pool.name, std::nullopt, pool});
  }
  return difference;
}

store::ChangeSet to_records(const Difference& difference,
                            const std::vector<std::string>& record_names) {
  store::ChangeSet records;
  records.put_routes = difference.put_aside;
  records.removed_routes = difference.removed_aside;
  for (const Difference::RouteChange& change : difference.routes) {
    const std::string& listener = record_names[change.key.listener];
    if (change.after.has_value()) {
      records.put_routes.push_back({.listener = listener, .text = to_text(*change.after)});
    } else {
      records.removed_routes.push_back({.listener = listener,
                                        .hostname = change.key.pattern.text(),
                                        .match = to_text(change.key.match)});
    }
  }
  const auto to_record = [](const Rule& rule) {
    return store::FirewallRule{std::string(to_string(rule.type())), rule.value()};
  };
  for (const Rule& rule : difference.added_rules) records.put_rules.push_back(to_record(rule));
  for (const Rule& rule : difference.removed_rules) {
    records.removed_rules.push_back(to_record(rule));
  }
  for (const PoolChange& change : difference.pools) {
    if (change.after.has_value()) {
      records.put_pools.push_back(to_text(*change.after));
    } else {
      records.removed_pools.push_back(change.name);
    }
  }
  return records;
}

}  // namespace mc::control
