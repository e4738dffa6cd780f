// SPDX-License-Identifier: Apache-2.0
#include "control/name_failures.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "control/limits.hpp"

namespace mc::control {

void NameFailures::failed(const std::string& name, std::string why, Time now) {
  const std::lock_guard lock(lock_);
  failures_.try_emplace(name, Failure{.why = {}, .since = now}).first->second.why = std::move(why);
}

void NameFailures::answered(std::string_view name) {
  const std::lock_guard lock(lock_);
  const auto found = failures_.find(name);
  if (found != failures_.end()) failures_.erase(found);
}

void NameFailures::keep_only(std::span<const std::string> names) {
  const std::lock_guard lock(lock_);
  std::erase_if(failures_, [names](const auto& failure) {
    return !std::ranges::binary_search(names, failure.first);
  });
}

std::string NameFailures::why(std::string_view name) const {
  const std::lock_guard lock(lock_);
  const auto found = failures_.find(name);
  return found != failures_.end() ? found->second.why : std::string();
}

std::string NameFailures::text() const {
  const std::lock_guard lock(lock_);
  if (failures_.empty()) return {};
  std::string list;
  std::size_t named = 0;
  for (const auto& [name, failure] : failures_) {
    if (named++ == kNamesNamed) break;
    list += fmt::format("{}{}: {} since {:%Y-%m-%dT%H:%M:%SZ}", list.empty() ? "" : "; ", name,
                        failure.why, std::chrono::floor<std::chrono::seconds>(failure.since));
  }
  if (failures_.size() > kNamesNamed) {
    list += fmt::format("; and {} more", failures_.size() - kNamesNamed);
  }
  return fmt::format(
      "names of backends cannot be resolved, their last addresses stay in use: {}; check the name "
      "servers, or change the backends",
      list);
}

}  // namespace mc::control
