// SPDX-License-Identifier: Apache-2.0
#pragma once
// TOML text as a tree of plain values with their positions in the text. Hides toml++, its
// exceptions and its compile time.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/problem.hpp"

namespace mc::config {

enum class TomlType : std::uint8_t {
  kString,
  kInteger,
  kFloat,
  kBoolean,
  kDateTime,
  kArray,
  kTable,
};

/// The type as TOML calls it, with its article: "a string", "an integer".
std::string_view to_string(TomlType type);

struct TomlEntry;

/// A value. Only the member that belongs to its type is set.
struct TomlValue {
  TomlType type = TomlType::kTable;
  Position position;
  std::string text;                 // of a string
  std::int64_t integer = 0;         // of an integer
  bool boolean = false;             // of a boolean
  std::vector<TomlValue> elements;  // of an array
  std::vector<TomlEntry> entries;   // of a table, in the order of their keys
  /// How a message shows it: the scalar as written, strings in double quotes; empty for arrays and
  /// tables.
  std::string shown;
};

struct TomlEntry {
  std::string key;
  Position position;  // of the key
  TomlValue value;
};

/// What is wrong with a text that is not TOML.
struct TomlError {
  Position position;
  std::string message;
};

/// Parses the text into a table. The text may come from anywhere; at most kConfigBytesMax bytes.
std::expected<TomlValue, TomlError> parse_toml(std::string_view text);

}  // namespace mc::config
