// SPDX-License-Identifier: Apache-2.0
#include "control/audit_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

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
                     policy::named(change.key.pattern.text(), to_text(change.key.match)),
                     target(change.before), target(change.after));
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

// What became of a backend that stays: its state if nothing else, else only that it changed.
std::string text_of(const policy::Backend& before, const policy::Backend& after) {
  policy::Backend only_state = before;
  only_state.state = after.state;
  return fmt::format(
      "{} {}", after.address.to_string(),
      only_state == after ? policy::word_of(after.state, policy::kAdminStateWords) : "changed");
}

std::vector<std::string> parts_of(const policy::Pool& before, const policy::Pool& after) {
  std::vector<std::string> parts;
  for (const policy::Backend& backend : after.backends) {
    const auto place = policy::find_backend(before, backend.address);
    if (!place.has_value()) {
      parts.push_back("+" + backend.address.to_string());
    } else if (before.backends[*place] != backend) {
      parts.push_back(text_of(before.backends[*place], backend));
    }
  }
  for (const policy::Backend& backend : before.backends) {
    if (policy::find_backend(after, backend.address).has_value()) continue;
    parts.push_back("-" + backend.address.to_string());
  }
  return parts;
}

// "pool app: added 4 backends", "pool app: 10.0.0.1:443 drain", "pool app: +10.0.0.5:443,
// -10.0.0.1:443", "pool app: changed", "pool app: removed".
std::string text_of(const PoolChange& change) {
  const std::string pool = "pool " + change.name + ": ";
  if (!change.after.has_value()) return pool + "removed";
  if (!change.before.has_value()) {
    const std::size_t count = change.after->backends.size();
    return fmt::format("{}added {} {}", pool, count, count == 1 ? "backend" : "backends");
  }
  std::vector<std::string> parts = parts_of(*change.before, *change.after);
  // Else only their order has changed, or a setting.
  if (parts.empty() || change.before->settings != change.after->settings) {
    parts.insert(parts.begin(), "changed");
  }
  if (parts.size() > kBackendsNamed) {
    const std::size_t more = parts.size() - kBackendsNamed;
    parts.resize(kBackendsNamed);
    parts.push_back(fmt::format("and {} more", more));
  }
  return pool + fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

std::string audit_text(const Difference& difference, const Listeners& listeners) {
  std::string text;
  std::size_t left = difference.routes.size() + difference.added_rules.size() +
                     difference.removed_rules.size() + difference.pools.size();
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
  for (const PoolChange& change : difference.pools) {
    if (has_room) add(text_of(change));
  }
  for (const Difference::RouteChange& change : difference.routes) {
    if (has_room) add(text_of(change, listeners));
  }
  if (left > 0) text += fmt::format("; and {} more", left);
  return text;
}

std::string audit_text_of_seed(const store::ChangeSet& seed) {
  std::string text =
      fmt::format("routes +{}, rules +{}", seed.put_routes.size(), seed.put_rules.size());
  if (!seed.put_pools.empty()) text += fmt::format(", pools +{}", seed.put_pools.size());
  return text;
}

}  // namespace mc::control
