// SPDX-License-Identifier: Apache-2.0
#pragma once
// The firewall's rules in the control plane: typed and sorted, for listing, comparison and building
// a policy::Firewall. Immutable once shared; any thread.

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
  /// Errors name the value and the correct form; `type` must not be kUnspecified.
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
/// The type for that word; nothing if there is none.
std::optional<RuleType> rule_type_of(std::string_view word);

/// Rules without duplicates, each type sorted.
struct RuleSet {
  std::vector<IpAddress> ips;
  std::vector<IpPrefix> cidrs;
  std::vector<std::string> countries;

  /// Sorts the rules and removes duplicates.
  void normalise();
  [[nodiscard]] bool contains(const Rule& rule) const;
  [[nodiscard]] std::size_t size() const { return ips.size() + cidrs.size() + countries.size(); }
  /// The rule at this index, ordered by type, then value.
  [[nodiscard]] Rule at(std::size_t index) const;
  void append(const Rule& rule);

  bool operator==(const RuleSet&) const = default;
};

/// `base` without `removed` and with `added`, which are sorted.
RuleSet changed(const RuleSet& base, const std::vector<Rule>& added,
                const std::vector<Rule>& removed);

/// The firewall of `next`. `before` is the firewall of `base`; the result shares its equal parts.
/// Country rules need before.geoip().
policy::Firewall changed(const policy::Firewall& before, const RuleSet& base, const RuleSet& next);

}  // namespace mc::control
