// SPDX-License-Identifier: Apache-2.0
#pragma once
// What can be wrong with a configuration, so that it can be corrected: where, which key, its value,
// what is wrong with that and what would be right. All problems of a file are reported at once.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mc::config {

/// A place in the file, counted from 1; columns count characters, not bytes. Line 0 is the file as
/// a whole.
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;

  constexpr auto operator<=>(const Position&) const = default;
};

inline constexpr Position kWholeFile;

struct Problem {
  std::string file;
  Position position;
  /// "listeners[0].routes[2].backend"; empty for the file as a whole.
  std::string key;
  /// As written in the file; empty when the message is not about one value, but about the key.
  std::string value;
  /// What is wrong and what would be right. Where there is no value, it names the key.
  std::string message;

  /// One line: `mc-proxy.toml:12:13: listeners[0].routes[1].backend = "127.0.0.1": the port is
  /// missing; …`.
  [[nodiscard]] std::string to_string() const;
};

/// One line for each of the first kProblemsShownMax, and the number of the others.
std::string to_string(const std::vector<Problem>& problems);

}  // namespace mc::config
