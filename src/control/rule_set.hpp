// SPDX-License-Identifier: Apache-2.0
#pragma once
// The firewall's rules as the control plane keeps them: typed, in order, to be listed, compared and
// turned into a policy::Firewall. Immutable once shared; any thread.

#include <compare>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "control/change.hpp"
#include "net/ip.hpp"
#include "policy/firewall.hpp"

namespace mc::control {

/// One rule, valid and in normal form. Ordered by type, then by value. A country is two capital
/// letters.
class Rule {
 public:
  /// Errors name the value and what would be right; `type` is not kUnspecified.
  static Result<Rule> parse(RuleType type, std::string_view value);
  explicit Rule(std::variant<IpAddress, IpPrefix, std::string> what) : what_(std::move(what)) {}

  [[nodiscard]] RuleType type() const;
  [[nodiscard]] std::string value() const;
  [[nodiscard]] const std::variant<IpAddress, IpPrefix, std::string>& what() const { return what_; }

  auto operator<=>(const Rule&) const = default;

 private:
  std::variant<IpAddress, IpPrefix, std::string> what_;
};

/// "ip", "cidr" or "country": the word in the database and on the command line.
std::string_view to_string(RuleType type);
/// The type with that word.
std::optional<RuleType> rule_type_of(std::string_view word);

/// Rules without repetition, each type in order.
struct RuleSet {
  std::vector<IpAddress> ips;
  std::vector<IpPrefix> cidrs;
  std::vector<std::string> countries;

  /// Sorts what was filled in in any order and drops repetitions.
  void normalise();
  [[nodiscard]] bool contains(const Rule& rule) const;
  [[nodiscard]] std::size_t size() const { return ips.size() + cidrs.size() + countries.size(); }
  /// The rule at this place in the order of type and value.
  [[nodiscard]] Rule at(std::size_t index) const;
  void append(const Rule& rule);

  bool operator==(const RuleSet&) const = default;
};

/// `base` without `removed` and with `added`, both in order.
RuleSet changed(const RuleSet& base, const std::vector<Rule>& added,
                const std::vector<Rule>& removed);

/// The firewall of `next`, which shares with `before`, the one of `base`, what is equal. Country
/// rules need before.geoip().
policy::Firewall changed(const policy::Firewall& before, const RuleSet& base, const RuleSet& next);

}  // namespace mc::control
