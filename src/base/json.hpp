// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes a JSON text (RFC 8259) whose shape the program knows, such as the reply of a command with
// --json. Numbers are whole ones: nothing here needs others. One thread. Messages of the API are
// written by protobuf, and log lines by the log, which shares append_json_string() of quote.hpp.

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mc {

/// A text that grows by a value at a time. In an object each value follows its key.
class JsonWriter {
 public:
  /// Whether the items of an object or array stand in one line, or each in a line of its own.
  enum class Layout : std::uint8_t { kLine, kLines };

  JsonWriter& begin_object(Layout layout = Layout::kLine) { return begin('{', '}', layout); }
  JsonWriter& begin_array(Layout layout = Layout::kLine) { return begin('[', ']', layout); }
  /// Closes the innermost object or array that is open.
  JsonWriter& end();

  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(std::integral auto number) {
    return raw(fmt::to_string(number));  // a bool as true or false
  }
  JsonWriter& member(std::string_view name, const auto& its_value) {
    return key(name).value(its_value);
  }

  /// The whole text; every object and array is closed.
  [[nodiscard]] const std::string& text() const;

 private:
  struct Level {
    char close;
    Layout layout;
    bool is_empty = true;
  };

  JsonWriter& begin(char open, char close, Layout layout);
  JsonWriter& raw(std::string_view token);
  void separate();
  void break_line();

  std::string text_;
  std::vector<Level> levels_;  // that are open, the outermost first
  bool follows_key_ = false;
};

}  // namespace mc
