// SPDX-License-Identifier: Apache-2.0
// The part of Control that takes what DNS says of backends: another answer publishes a policy of
// the same revision. Nothing that DNS does takes an address away without a better answer.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "control/control.hpp"
#include "control/wall_clock.hpp"

namespace mc::control {
namespace {

std::string text_of(const std::vector<IpAddress>& addresses) {
  std::vector<std::string> texts;
  for (const IpAddress& address : addresses) texts.push_back(address.to_string());
  return fmt::format("{}", fmt::join(texts, " "));
}

// Sorted, as the answers are.
std::vector<std::string> changed_names(const policy::ResolvedNames& answers,
                                       const policy::ResolvedNames& before) {
  std::vector<std::string> changed;
  for (const auto& [name, addresses] : answers) {
    const auto known = before.find(name);
    if (known == before.end() || known->second != addresses) changed.push_back(name);
  }
  return changed;
}

}  // namespace

bool Control::take_answers(const policy::ResolvedNames& answers) {
  const std::unique_lock writer(writer_, std::try_to_lock);
  if (!writer.owns_lock()) return false;
  const auto base = state();
  const std::vector<std::string> changed = changed_names(answers, *base->resolved);
  if (changed.empty()) return true;

  const std::vector<std::string> names = policy::names_of(*base->pools);
  auto resolved = std::make_shared<policy::ResolvedNames>(*base->resolved);
  store::ResolvedChanges records;
  for (const std::string& name : changed) {
    const std::vector<IpAddress>& addresses = answers.at(name);
    (*resolved)[name] = addresses;
    records.put.push_back({.name = name, .addresses = text_of(addresses), .time = wall_clock()});
  }
  const auto is_unused = [&names](const std::string& name) {
    return !std::ranges::binary_search(names, name);
  };
  std::erase_if(*resolved, [&](const auto& entry) {
    if (!is_unused(entry.first)) return false;
    records.removed.push_back(entry.first);
    return true;
  });
  std::erase_if(records.put, [&](const auto& record) { return is_unused(record.name); });

  State next = *base;
  const auto pools = policy::with_resolved(*base->pools, changed, *resolved, Clock::now());
  next.resolved = std::move(resolved);
  if (pools != nullptr) next.pools = pools;
  auto policy = next.policy();
  publish(std::make_shared<const State>(std::move(next)), std::move(policy));
  database_.remember(std::move(records));
  return true;
}

void Control::take_success(const std::string& name) {
  name_failures_.answered(name);
  warn_of_names();
}

void Control::take_failure(const std::string& name, std::string why) {
  name_failures_.failed(name, std::move(why), wall_clock());
  // After that: a change that removes the name may be publishing its pools meanwhile.
  forget_failures(*state()->pools);
}

void Control::forget_failures(const policy::LivePools& pools) {
  name_failures_.keep_only(policy::names_of(pools));
  warn_of_names();
}

void Control::warn_of_names() {
  const std::lock_guard lock(name_warning_);
  std::string text = name_failures_.text();
  if (text.empty()) {
    warnings_.clear(WarningKind::kNamesNotResolved);
  } else {
    warnings_.raise(WarningKind::kNamesNotResolved, std::move(text));
  }
}

}  // namespace mc::control
