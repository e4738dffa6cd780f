// SPDX-License-Identifier: Apache-2.0
#pragma once
// Strings of the configuration file as values of other types. An error of the parser is a problem
// with its place. Belongs to one thread, for one load.

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "config/section.hpp"

namespace mc::config {

/// The value of a text, or nothing and a problem.
template <class T>
std::optional<T> parse_with(Result<T> (*parse)(std::string_view), const Node& place,
                            Problems& problems) {
  auto value = parse(place.value->text);
  if (value) return *std::move(value);
  problems.add(*place.value, place.path, value.error());
  return std::nullopt;
}

/// The array's strings as values. One that repeats is a problem.
template <class T>
std::vector<T> read_set(const Section& section, std::string_view key, std::string_view example,
                        Result<T> (*parse)(std::string_view), Problems& problems) {
  std::vector<T> values;
  std::map<T, Node> seen;
  for (const Node& place : section.strings(key, example)) {
    const auto value = parse_with(parse, place, problems);
    if (!value) continue;
    const auto [first, is_new] = seen.try_emplace(*value, place);
    if (is_new) {
      values.push_back(*value);
    } else {
      problems.add(*place.value, place.path,
                   fmt::format("the same as {} on line {}; remove one", first->second.path,
                               first->second.value->position.line));
    }
  }
  return values;
}

}  // namespace mc::config
