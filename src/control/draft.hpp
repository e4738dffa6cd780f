// SPDX-License-Identifier: Apache-2.0
#pragma once
// Applies the changes of a request to the state in force, each on top of those before it. The
// result is the difference between before and after: that is committed, published and logged. One
// thread; `base` must outlive it.

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "control/change.hpp"
#include "control/rule_set.hpp"
#include "control/state.hpp"
#include "policy/route.hpp"
#include "store/store.hpp"

namespace mc::control {

/// A validated change.
struct ValidRoute {
  enum class Op : std::uint8_t { kAdd, kPut, kRemove };
  Op op;
  RouteKey key;
  std::optional<policy::Route> route;  // nothing for kRemove
};
struct ValidRule {
  enum class Op : std::uint8_t { kAdd, kPut, kRemove };
  Op op;
  Rule rule;
};
using ValidChange = std::variant<ValidRoute, ValidRule>;

/// All changes as values, or a refusal with the violations of all of them.
Outcome<std::vector<ValidChange>> validate(std::span<const Change> changes,
                                           const Listeners& listeners);

/// Turns the whole list of routes for `listener` into changes that put them; or a refusal with all
/// violations, including duplicate names.
Outcome<std::vector<ValidChange>> validate_routes(const std::string& listener,
                                                  std::span<const policy::RouteText> routes,
                                                  const Listeners& listeners);

/// What a request changes, net.
struct Difference {
  struct RouteChange {
    RouteKey key;
    std::optional<policy::Route> before;  // nothing: it is new
    std::optional<policy::Route> after;   // nothing: it was removed
  };
  std::vector<RouteChange> routes;
  std::vector<Rule> added_rules;  // sorted, as are the removed ones
  std::vector<Rule> removed_rules;
  /// Records of listeners that are not configured. They are only in the database.
  std::vector<store::RouteRecord> put_aside;
  std::vector<store::RouteRecordKey> removed_aside;

  [[nodiscard]] bool empty() const {
    return routes.empty() && added_rules.empty() && removed_rules.empty() && put_aside.empty() &&
           removed_aside.empty();
  }
};

/// The effect of one change of a request, on top of the changes before it.
struct Effect {
  enum class Result : std::uint8_t {
    kAdded,
    kChanged,  // the route has a new backend
    kRemoved,
    kUnchanged,  // it existed as the change puts it
  };
  Result result = Result::kUnchanged;
  std::optional<policy::Route> previous;  // with kChanged
};

class Draft {
 public:
  Draft(const State& base, const Listeners& listeners) : base_(base), listeners_(listeners) {}

  /// Applies the change. Refuses to add what exists, and to remove what does not.
  Outcome<Effect> apply(const ValidChange& change);
  /// Removes every route of the listener. Routes that are put afterwards stay.
  void clear_routes(std::size_t listener);
  /// Puts or removes a record of a listener that is not configured.
  void put_aside(store::RouteRecord record) { put_aside_.push_back(std::move(record)); }
  void remove_aside(store::RouteRecordKey key) { removed_aside_.push_back(std::move(key)); }

  [[nodiscard]] Difference difference() const;
  /// The rules that the request adds or puts, new or not, sorted.
  [[nodiscard]] std::vector<Rule> wanted_rules() const;

 private:
  Outcome<Effect> apply(const ValidRoute& change);
  Outcome<Effect> apply(const ValidRule& change);
  [[nodiscard]] std::optional<policy::Route> before(const RouteKey& key) const;

  const State& base_;
  const Listeners& listeners_;
  std::map<RouteKey, std::optional<policy::Route>> routes_;  // the touched ones, as they are now
  std::map<Rule, bool> rules_;  // the touched ones: whether they exist now
  std::vector<store::RouteRecord> put_aside_;
  std::vector<store::RouteRecordKey> removed_aside_;
};

/// `base` with the difference applied. The revision stays that of `base`. Country rules need
/// base.firewall.geoip().
State changed(const State& base, const Difference& difference);

/// The difference from an empty state.
Difference difference_from_nothing(const Specification& specification);

/// The difference as records for the store; `record_names` are the listeners' names there.
store::ChangeSet to_records(const Difference& difference,
                            const std::vector<std::string>& record_names);

}  // namespace mc::control
