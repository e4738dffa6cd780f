// SPDX-License-Identifier: Apache-2.0
#pragma once
// A request on its way to the next state: its changes laid over the state in force, one after the
// other, each seeing what those before it did. What comes out is the difference between before and
// after, which is what is committed, published and told. Belongs to one thread; `base` outlives it.

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

/// A change that was found valid.
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

/// All of the changes, validated, or a refusal with the violations of all of them.
Outcome<std::vector<ValidChange>> validate(std::span<const Change> changes,
                                           const Listeners& listeners);

/// The routes that `listener` is to have, as changes that put them; or all that is wrong, names
/// that are given twice included.
Outcome<std::vector<ValidChange>> validate_routes(const std::string& listener,
                                                  std::span<const policy::RouteText> routes,
                                                  const Listeners& listeners);

/// What a request changes, net.
struct Difference {
  struct RouteChange {
    RouteKey key;
    std::optional<policy::Route> before;  // nothing: it was not there
    std::optional<policy::Route> after;   // nothing: it is not there any more
  };
  std::vector<RouteChange> routes;
  std::vector<Rule> added_rules;  // in order
  std::vector<Rule> removed_rules;
  /// Records of listeners that are not configured, which no state has.
  std::vector<store::RouteRecord> put_aside;
  std::vector<store::RouteRecordKey> removed_aside;

  [[nodiscard]] bool empty() const {
    return routes.empty() && added_rules.empty() && removed_rules.empty() && put_aside.empty() &&
           removed_aside.empty();
  }
};

/// What one change of a request does to what those before it have left.
struct Effect {
  enum class Result : std::uint8_t {
    kAdded,
    kChanged,  // a route is another one
    kRemoved,
    kUnchanged,  // it was there already, as the change puts it
  };
  Result result = Result::kUnchanged;
  std::optional<policy::Route> previous;  // with kChanged
};

class Draft {
 public:
  Draft(const State& base, const Listeners& listeners) : base_(base), listeners_(listeners) {}

  /// Applies the change to what is there. Refuses to add what is there, and to remove what is not.
  Outcome<Effect> apply(const ValidChange& change);
  /// Removes every route of the listener; what is put afterwards stays.
  void clear_routes(std::size_t listener);
  /// The same for a record of a listener that is not configured.
  void put_aside(store::RouteRecord record) { put_aside_.push_back(std::move(record)); }
  void remove_aside(store::RouteRecordKey key) { removed_aside_.push_back(std::move(key)); }

  [[nodiscard]] Difference difference() const;
  /// The rules that the request adds or puts, whether they are new or not, in order.
  [[nodiscard]] std::vector<Rule> wanted_rules() const;

 private:
  Outcome<Effect> apply(const ValidRoute& change);
  Outcome<Effect> apply(const ValidRule& change);
  [[nodiscard]] std::optional<policy::Route> before(const RouteKey& key) const;

  const State& base_;
  const Listeners& listeners_;
  std::map<RouteKey, std::optional<policy::Route>> routes_;  // what was touched, as it is now
  std::map<Rule, bool> rules_;  // what was touched: whether it is there
  std::vector<store::RouteRecord> put_aside_;
  std::vector<store::RouteRecordKey> removed_aside_;
};

/// `base` with the difference made; its revision is still that of `base`. Country rules need
/// base.firewall.geoip().
State changed(const State& base, const Difference& difference);

/// What is new where nothing was before: all of it.
Difference difference_from_nothing(const Specification& specification);

/// The difference as the store takes it; `record_names` are those of the listeners there.
store::ChangeSet to_records(const Difference& difference,
                            const std::vector<std::string>& record_names);

}  // namespace mc::control
