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
#include <variant>
#include <vector>

#include "base/socket_address.hpp"
#include "control/change.hpp"
#include "control/rule_set.hpp"
#include "control/state.hpp"
#include "store/store.hpp"

namespace mc::control {

/// A change that was found valid.
struct ValidRoute {
  enum class Wish : std::uint8_t { kAdd, kPut, kRemove };
  Wish wish;
  std::size_t listener;
  std::string hostname;
  SocketAddress backend;  // unspecified for kRemove
};
struct ValidRule {
  enum class Wish : std::uint8_t { kAdd, kPut, kRemove };
  Wish wish;
  Rule rule;
};
using ValidChange = std::variant<ValidRoute, ValidRule>;

/// All of the changes, validated, or a refusal with the violations of all of them.
Outcome<std::vector<ValidChange>> validate(std::span<const Change> changes,
                                           const Listeners& listeners);

/// The routes that `listener` is to have, as changes that put them; or all that is wrong, names
/// that are given twice included.
Outcome<std::vector<ValidChange>> validate_routes(const std::string& listener,
                                                  std::span<const RouteText> routes,
                                                  const Listeners& listeners);

/// What a request changes, net.
struct Difference {
  struct RouteChange {
    std::size_t listener;
    std::string hostname;
    std::optional<SocketAddress> before;  // nothing: it was not there
    std::optional<SocketAddress> after;   // nothing: it is not there any more
  };
  std::vector<RouteChange> routes;
  std::vector<Rule> added_rules;  // in order
  std::vector<Rule> removed_rules;

  [[nodiscard]] bool empty() const {
    return routes.empty() && added_rules.empty() && removed_rules.empty();
  }
};

class Draft {
 public:
  Draft(const State& base, const Listeners& listeners) : base_(base), listeners_(listeners) {}

  /// Lays the change over what is there. Refuses what is there already or is not there.
  Outcome<void> apply(const ValidChange& change);
  /// Removes every route of the listener; what is put afterwards stays.
  void clear_routes(std::size_t listener);

  [[nodiscard]] Difference difference() const;
  /// The rules that the request adds or puts, whether they are new or not, in order.
  [[nodiscard]] std::vector<Rule> wanted_rules() const;

 private:
  struct RouteId {
    std::size_t listener;
    std::string hostname;
    auto operator<=>(const RouteId&) const = default;
  };

  Outcome<void> apply(const ValidRoute& change);
  Outcome<void> apply(const ValidRule& change);
  [[nodiscard]] std::optional<SocketAddress> before(const RouteId& id) const;

  const State& base_;
  const Listeners& listeners_;
  std::map<RouteId, std::optional<SocketAddress>> routes_;  // what was touched, as it is now
  std::map<Rule, bool> rules_;                              // what was touched: whether it is there
};

/// `base` with the difference made; its revision is still that of `base`. Country rules need
/// base.firewall.geoip().
State changed(const State& base, const Difference& difference);

/// The difference as the store takes it.
store::ChangeSet to_records(const Difference& difference, const Listeners& listeners);

}  // namespace mc::control
