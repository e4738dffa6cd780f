// SPDX-License-Identifier: Apache-2.0
#pragma once
// The outcome of reading a text as a configuration. Files that it names need not exist.

#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "support/catch.hpp"

namespace mc::test {

/// The configuration; fails the test if there is a problem.
inline config::Config config_of(std::string_view text) {
  const auto parsed = config::load_from_text(text, "test.toml", config::NamedFiles::kIgnored);
  if (!parsed) UNSCOPED_INFO(to_string(parsed.error()));
  REQUIRE(parsed.has_value());
  return *parsed;
}

/// The problems as they are printed, without the file's name: "4:13: KEY = VALUE: MESSAGE".
inline std::vector<std::string> problems_of(std::string_view text) {
  const auto parsed = config::load_from_text(text, "", config::NamedFiles::kIgnored);
  REQUIRE_FALSE(parsed.has_value());
  std::vector<std::string> lines;
  for (const auto& problem : parsed.error()) lines.push_back(problem.to_string().substr(1));
  return lines;
}

/// The only problem; fails the test if there are more.
inline std::string problem_of(std::string_view text) {
  const auto lines = problems_of(text);
  for (const auto& line : lines) UNSCOPED_INFO(line);
  REQUIRE(lines.size() == 1);
  return lines[0];
}

}  // namespace mc::test
