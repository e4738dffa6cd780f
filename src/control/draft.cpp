// SPDX-License-Identifier: Apache-2.0
#include "control/draft.hpp"

#include <fmt/format.h>

#include <type_traits>
#include <utility>

#include "base/quote.hpp"
#include "control/limits.hpp"

namespace mc::control {
namespace {

// Collects the violations of a request's changes.
class Violations {
 public:
  void add(std::size_t index, Field field, std::string description) {
    if (refusal_.violations.size() < kMax) {
      refusal_.violations.push_back({index, field, std::move(description)});
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

// Turns the texts of changes into values, one by one.
class Validator {
 public:
  explicit Validator(const Listeners& listeners) : listeners_(listeners) {}

  void at(std::size_t index) { index_ = index; }

  std::optional<ValidChange> operator()(std::monostate) {
    violations_.add(index_, Field(),
                    "no change is set; set one of add_route, put_route, remove_route, "
                    "add_firewall_rule, put_firewall_rule, remove_firewall_rule");
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
    if (!listener || !hostname) return std::nullopt;
    return ValidRoute{ValidRoute::Op::kRemove, {*listener, *std::move(hostname)}, std::nullopt};
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

  /// The refusal (kNotFound) if a change names a listener that does not exist.
  [[nodiscard]] const std::optional<Refusal>& unknown_listener() const { return unknown_listener_; }
  Violations& violations() { return violations_; }

 private:
  std::optional<std::size_t> find(const std::string& name) {
    const auto found = listeners_.find(name);
    if (!found && !unknown_listener_) {
      unknown_listener_ = Refusal{RefusalKind::kNotFound, listeners_.unknown(name), {}, 0, index_};
    }
    return found;
  }

  std::optional<ValidChange> route(ValidRoute::Op op, const std::string& listener_name,
                                   const policy::RouteText& text) {
    const auto listener = find(listener_name);
    auto route = policy::parse_route(text);
    if (!route) {
      for (policy::RouteError& error : route.error()) {
        violations_.add(index_, {Field::Of::kRoute, error.field}, std::move(error.message));
      }
      return std::nullopt;
    }
    if (const auto reached = listeners_.reached_by(route->backend)) {
      violations_.add(
          index_, kBackendField,
          fmt::format("{}: leads back to the listener {}; write where the service itself listens",
                      quote(text.backend), quote(listeners_.name(*reached))));
      return std::nullopt;
    }
    if (!listener) return std::nullopt;
    RouteKey key{*listener, route->pattern};
    return ValidRoute{op, std::move(key), *std::move(route)};
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

  const Listeners& listeners_;
  std::size_t index_ = 0;
  Violations violations_;
  std::optional<Refusal> unknown_listener_;
};

Outcome<std::vector<ValidChange>> outcome_of(Validator& validator, std::vector<ValidChange> valid) {
  if (!validator.violations().none()) {
    return std::unexpected(std::move(validator.violations()).refusal());
  }
  if (validator.unknown_listener()) return std::unexpected(*validator.unknown_listener());
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
  if (!listeners.find(listener)) {
    return refuse(RefusalKind::kNotFound, listeners.unknown(listener));
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
      validator.violations().add(i, kHostnameField,
                                 fmt::format("{}: the same host name as routes[{}]; leave one out",
                                             quote(routes[i].hostname), first->second));
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
  const std::optional<policy::Route> now = touched != routes_.end() ? touched->second : before(key);
  if (change.op == ValidRoute::Op::kAdd && now.has_value()) {
    return refuse(
        RefusalKind::kAlreadyExists,
        fmt::format("listener {} has a route for {} already, to {}; remove it first, or replace it",
                    quote(listeners_.name(key.listener)), quote(key.pattern.text()),
                    policy::target_of(*now)));
  }
  if (change.op == ValidRoute::Op::kRemove && !now.has_value()) {
    return refuse(RefusalKind::kNotFound,
                  fmt::format("listener {} has no route for {}",
                              quote(listeners_.name(key.listener)), quote(key.pattern.text())));
  }
  if (change.op == ValidRoute::Op::kRemove) {
    routes_.insert_or_assign(key, std::nullopt);
    return Effect{Effect::Result::kRemoved, std::nullopt};
  }
  routes_.insert_or_assign(key, change.route);
  if (!now.has_value()) return Effect{Effect::Result::kAdded, std::nullopt};
  if (now == change.route) return Effect{Effect::Result::kUnchanged, std::nullopt};
  return Effect{Effect::Result::kChanged, now};
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
    routes_.insert_or_assign({listener, route.spec.pattern}, std::nullopt);
  });
}

std::optional<policy::Route> Draft::before(const RouteKey& key) const {
  const policy::LiveRoute* const route = base_.routes[key.listener].by_pattern(key.pattern);
  if (route == nullptr) return std::nullopt;
  return route->spec;
}

Difference Draft::difference() const {
  Difference difference;
  for (const auto& [key, after] : routes_) {
    const auto was = before(key);
    if (was != after) difference.routes.push_back({key, was, after});
  }
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
        edit.remove(change->key.pattern);
        continue;
      }
      policy::LiveRoute route{.spec = *change->after};
      // A route with a new backend keeps its counters.
      const policy::LiveRoute* const replaced = before.by_pattern(change->key.pattern);
      if (replaced != nullptr) route.state = replaced->state;
      edit.put(std::move(route));
    }
    next.routes[listener] = std::move(edit).finish();
  }
  if (!difference.added_rules.empty() || !difference.removed_rules.empty()) {
    next.rules = std::make_shared<const RuleSet>(
        changed(*base.rules, difference.added_rules, difference.removed_rules));
    next.firewall = changed(base.firewall, *base.rules, *next.rules);
  }
  return next;
}

Difference difference_from_nothing(const Specification& specification) {
  Difference difference;
  for (std::size_t listener = 0; listener < specification.routes.size(); ++listener) {
    for (const policy::Route& route : specification.routes[listener]) {
      difference.routes.push_back({{listener, route.pattern}, std::nullopt, route});
    }
  }
  for (std::size_t i = 0; i < specification.rules.size(); ++i) {
    difference.added_rules.push_back(specification.rules.at(i));
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
      records.removed_routes.push_back(
          {.listener = listener, .hostname = change.key.pattern.text()});
    }
  }
  const auto to_record = [](const Rule& rule) {
    return store::FirewallRule{std::string(to_string(rule.type())), rule.value()};
  };
  for (const Rule& rule : difference.added_rules) records.put_rules.push_back(to_record(rule));
  for (const Rule& rule : difference.removed_rules) {
    records.removed_rules.push_back(to_record(rule));
  }
  return records;
}

}  // namespace mc::control
