// SPDX-License-Identifier: Apache-2.0
#pragma once
// Applies the changes of a request to the state in force, each on top of those before it. The
// result is the difference between before and after: that is committed, published and logged. One
// thread; `base` must outlive it.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "control/change.hpp"
#include "control/effect.hpp"
#include "control/pool_draft.hpp"
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
using ValidChange = std::variant<ValidRoute, ValidRule, ValidPool, ValidBackend>;

/// All changes as values, or a refusal with the violations of all of them.
Outcome<std::vector<ValidChange>> validate(std::span<const Change> changes,
                                           const Listeners& listeners);

/// Turns the whole list of routes for `listener` into changes that put them; or a refusal with all
/// violations, including duplicates.
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
  std::vector<PoolChange> pools;  // ordered by name
  /// Records of listeners that are not configured. They are only in the database.
  std::vector<store::RouteRecord> put_aside;
  std::vector<store::RouteRecordKey> removed_aside;

  [[nodiscard]] bool empty() const {
    return routes.empty() && added_rules.empty() && removed_rules.empty() && pools.empty() &&
           put_aside.empty() && removed_aside.empty();
  }
};

class Draft {
 public:
  Draft(const State& base, const Listeners& listeners)
      : base_(base), listeners_(listeners), pools_(*base.pools) {}

  /// The changes that follow have this index in the request, for require_pools() and
  /// require_few_matches().
  void at(std::size_t index) { index_ = index; }
  /// Applies the change. Refuses to add what exists, and to remove what does not.
  Outcome<Effect> apply(const ValidChange& change);
  /// Removes every route of the listener. Routes that are put afterwards stay.
  void clear_routes(std::size_t listener);
  /// Puts or removes a record of a listener that is not configured.
  void put_aside(store::RouteRecord record) { put_aside_.push_back(std::move(record)); }
  void remove_aside(store::RouteRecordKey key) { removed_aside_.push_back(std::move(key)); }

  /// These are to be called after the last change, so that their order does not matter. The first
  /// refuses if a route leads to a pool that does not exist, or a listener names one that is
  /// removed; the second if a pattern has more than kMatchesPerPatternMax routes with a match.
  [[nodiscard]] Outcome<void> require_pools() const;
  [[nodiscard]] Outcome<void> require_few_matches() const;

  [[nodiscard]] Difference difference() const;
  /// The rules that the request adds or puts, new or not, sorted.
  [[nodiscard]] std::vector<Rule> wanted_rules() const;

 private:
  /// A route that the request touched, as it is now; and by which of its changes.
  struct Touched {
    std::optional<policy::Route> now;
    std::optional<std::size_t> by;
  };
  struct Users;

  Outcome<Effect> apply(const ValidRoute& change);
  Outcome<Effect> apply(const ValidRule& change);
  Outcome<Effect> apply(const ValidPool& change);
  Outcome<Effect> apply(const ValidBackend& change) { return pools_.apply(change); }
  [[nodiscard]] std::optional<policy::Route> before(const RouteKey& key) const;
  /// Refuses if a listener's settings name one of the removed pools.
  [[nodiscard]] Outcome<void> require_unnamed(
      const std::map<std::string, Users, std::less<>>& removed) const;
  /// The matches of the routes that the listener has for this pattern now, in order.
  [[nodiscard]] std::set<policy::RouteMatch> matches_of(std::size_t listener,
                                                        const policy::HostPattern& pattern) const;
  [[nodiscard]] std::unexpected<Refusal> refuse_missing(const RouteKey& key) const;
  /// Adds the routes that lead to the removed pools.
  void find_users(std::map<std::string, Users, std::less<>>& removed) const;
  void find_users_aside(std::map<std::string, Users, std::less<>>& removed) const;

  const State& base_;
  const Listeners& listeners_;
  std::optional<std::size_t> index_;
  std::map<RouteKey, Touched> routes_;
  PoolDraft pools_;
  /// The removed pools, each with the change that removed it; some may exist again.
  std::map<std::string, std::optional<std::size_t>> removed_pools_;
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
