// SPDX-License-Identifier: Apache-2.0
#include "control/warnings.hpp"

#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace mc::control {

TEST_CASE("a warning stands from when it is raised until it is cleared") {
  Warnings warnings;
  CHECK(warnings.texts().empty());
  warnings.raise(WarningKind::kDatabaseReadOnly, "no room");
  CHECK(warnings.is_raised(WarningKind::kDatabaseReadOnly));
  CHECK_FALSE(warnings.is_raised(WarningKind::kDatabaseChanged));
  CHECK(warnings.texts() == std::vector<std::string>{"no room"});
  warnings.clear(WarningKind::kDatabaseReadOnly);
  CHECK_FALSE(warnings.is_raised(WarningKind::kDatabaseReadOnly));
  CHECK(warnings.texts().empty());
  warnings.clear(WarningKind::kDatabaseReadOnly);  // twice is no harm
}

TEST_CASE("of one kind the latest text stands, and kinds do not touch one another") {
  Warnings warnings;
  warnings.raise(WarningKind::kGeoIpNotReloaded, "empty");
  warnings.raise(WarningKind::kTakeOverFailed, "exit code 1");
  warnings.raise(WarningKind::kGeoIpNotReloaded, "cut off");
  CHECK(warnings.texts() == std::vector<std::string>{"exit code 1", "cut off"});
  CHECK(warnings.is_raised(WarningKind::kTakeOverFailed));
  CHECK_FALSE(warnings.is_raised(WarningKind::kDatabaseChanged));
  CHECK_FALSE(warnings.is_raised(WarningKind::kDatabaseReadOnly));
  CHECK(warnings.is_raised(WarningKind::kGeoIpNotReloaded));
  warnings.clear(WarningKind::kTakeOverFailed);
  CHECK(warnings.texts() == std::vector<std::string>{"cut off"});
}

TEST_CASE("every kind of warning has a name of its own") {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kWarningKinds; ++i) {
    names.insert(to_string(static_cast<WarningKind>(i)));
  }
  CHECK(names.size() == kWarningKinds);
  CHECK_FALSE(names.contains(""));
}

}  // namespace mc::control
