// SPDX-License-Identifier: Apache-2.0
#include "control/audit_text.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <map>
#include <optional>

#include "control/limits.hpp"
#include "control/rule_set.hpp"
#include "policy/route.hpp"

namespace mc::control {
namespace {

std::string text_of(const Difference::RouteChange& change, const Listeners& listeners) {
  const auto target = [](const std::optional<policy::Route>& route) {
    return route.has_value() ? policy::target_of(*route) : "none";
  };
  return fmt::format("{} {} {} -> {}", listeners.name(change.key.listener),
                     change.key.pattern.text(), target(change.before), target(change.after));
}

struct Aside {
  std::size_t put = 0;
  std::size_t removed = 0;
};

std::map<std::string, Aside> changes_aside(const Difference& difference) {
  std::map<std::string, Aside> changes;
  for (const store::RouteRecord& route : difference.put_aside) ++changes[route.listener].put;
  for (const store::RouteRecordKey& key : difference.removed_aside) ++changes[key.listener].removed;
  return changes;
}

}  // namespace

std::string audit_text(const Difference& difference, const Listeners& listeners) {
  std::string text;
  std::size_t left =
      difference.routes.size() + difference.added_rules.size() + difference.removed_rules.size();
  for (const auto& [listener, change] : changes_aside(difference)) {
    text += fmt::format("{}{}: +{} -{} routes, not configured", text.empty() ? "" : "; ", listener,
                        change.put, change.removed);
  }
  bool has_room = true;
  const auto add = [&](const std::string& change) {
    has_room = has_room && text.size() + change.size() <= kDetailBytesMax;
    if (!has_room) return;
    text += (text.empty() ? "" : "; ") + change;
    --left;
  };
  for (const Rule& rule : difference.added_rules) {
    if (has_room) add(fmt::format("+{} {}", to_string(rule.type()), rule.value()));
  }
  for (const Rule& rule : difference.removed_rules) {
    if (has_room) add(fmt::format("-{} {}", to_string(rule.type()), rule.value()));
  }
  for (const Difference::RouteChange& change : difference.routes) {
    if (has_room) add(text_of(change, listeners));
  }
  if (left > 0) text += fmt::format("; and {} more", left);
  return text;
}

std::string audit_text_of_seed(const store::ChangeSet& seed) {
  return fmt::format("routes +{}, rules +{}", seed.put_routes.size(), seed.put_rules.size());
}

}  // namespace mc::control
