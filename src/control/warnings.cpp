// SPDX-License-Identifier: Apache-2.0
#include "control/warnings.hpp"

#include <utility>

namespace mc::control {

std::string_view to_string(WarningKind kind) {
  switch (kind) {
    case WarningKind::kTakeOverFailed:
      return "take_over_failed";
    case WarningKind::kDatabaseChanged:
      return "database_changed";
    case WarningKind::kDatabaseReadOnly:
      return "database_read_only";
    case WarningKind::kGeoIpNotReloaded:
      return "geoip_not_reloaded";
    case WarningKind::kNamesNotResolved:
      return "names_not_resolved";
  }
  std::unreachable();
}

void Warnings::raise(WarningKind kind, std::string text) {
  const std::lock_guard lock(lock_);
  raised_[static_cast<std::size_t>(kind)] = std::move(text);
}

void Warnings::clear(WarningKind kind) {
  const std::lock_guard lock(lock_);
  raised_[static_cast<std::size_t>(kind)].reset();
}

bool Warnings::is_raised(WarningKind kind) const {
  const std::lock_guard lock(lock_);
  return raised_[static_cast<std::size_t>(kind)].has_value();
}

std::vector<std::string> Warnings::texts() const {
  const std::lock_guard lock(lock_);
  std::vector<std::string> texts;
  for (const auto& text : raised_) {
    if (text.has_value()) texts.push_back(*text);
  }
  return texts;
}

}  // namespace mc::control
