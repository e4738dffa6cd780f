// SPDX-License-Identifier: Apache-2.0
#include "config/toml.hpp"

#include <fmt/format.h>

// Where toml++ is compiled in rather than linked, some of its assertions check the text, and would
// end the process on a slip such as "[=]". It reports an error after every one of them.
#define TOML_ASSERT(condition) static_cast<void>(0)
#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

#include "base/quote.hpp"
#include "config/limits.hpp"

namespace mc::config {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

Position position_of(const toml::source_position& place) { return {place.line, place.column}; }

/// The lines of the text, to show a value as it was written.
class Lines {
 public:
  explicit Lines(std::string_view text) {
    while (true) {
      const auto end = text.find('\n');
      lines_.push_back(text.substr(0, end));
      if (end == text.npos) return;
      text.remove_prefix(end + 1);
    }
  }

  /// The line without the blanks around it.
  [[nodiscard]] std::string_view line(std::uint32_t number) const {
    if (number == 0 || number > lines_.size()) return {};
    std::string_view text = lines_[number - 1];
    constexpr std::string_view kBlank = " \t\r";
    const auto first = text.find_first_not_of(kBlank);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
  }

  /// The text of the region, if it is plain: one line of ASCII, such as numbers, booleans and
  /// dates.
  [[nodiscard]] std::string plain(const toml::source_region& region) const {
    const toml::source_position begin = region.begin, end = region.end;
    if (begin.line == 0 || begin.line != end.line || begin.line > lines_.size()) return {};
    // Columns count characters, and the text before the value may be beyond ASCII: skip by
    // character, from the start.
    const std::string_view line = lines_[begin.line - 1];
    std::size_t column = 0;
    std::string out;
    for (const char c : line) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte & 0xc0) != 0x80) ++column;
      if (column >= end.column) break;
      if (column < begin.column) continue;
      if (byte < 0x20 || byte > 0x7e) return {};
      out += c;
    }
    return out;
  }

 private:
  std::vector<std::string_view> lines_;
};

/// Finds and explains what toml++ does not survive: keys nested without bound (it recurses), and
/// undefined behaviour on characters beyond ASCII, outside of strings and comments (its issue 295)
/// or behind a backslash that ends a line (190, in version 3.3). No configuration needs any of it.
class Precheck {
 public:
  explicit Precheck(std::string_view text) : rest_(text) {}

  std::optional<TomlError> find_trouble() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      std::optional<TomlError> trouble;
      if (c == '"' || c == '\'') {
        trouble = skip_string();
      } else if (c == '#') {
        skip(std::min(rest_.find('\n'), rest_.size()));
      } else {
        trouble = check(c);
        skip(1);
      }
      if (trouble) return trouble;
    }
    return std::nullopt;
  }

 private:
  /// Checks one character of the syntax proper.
  std::optional<TomlError> check(char c) {
    if (static_cast<unsigned char>(c) > 0x7f) {
      return TomlError{here_, "not valid TOML: a character beyond ASCII must stand in quotes"};
    }
    // Counts every other dot as one between the parts of a key: a number has at most one. A space
    // may stand beside it.
    if (std::string_view("=,[]{}\n").contains(c)) dots_ = 0;
    if (c == '.' && ++dots_ >= kKeyPartsMax) {
      return TomlError{here_, fmt::format("a key has more than {} parts", kKeyPartsMax)};
    }
    return std::nullopt;
  }

  /// Skips the string at the start: one in single quotes has no escapes, one in three quotes may
  /// span lines.
  std::optional<TomlError> skip_string() {
    const char quote = rest_.front();
    const std::string three(3, quote);
    const bool is_multiline = rest_.starts_with(three);
    const std::string_view end = std::string_view(three).substr(0, is_multiline ? 3 : 1);
    skip(end.size());
    while (!rest_.empty() && !rest_.starts_with(end)) {
      if (!is_multiline && rest_.front() == '\n') return std::nullopt;  // the parser reports it
      const bool is_escape = quote == '"' && rest_.front() == '\\';
      if (is_escape && rest_.size() > 1 && std::string_view(" \t\r\n").contains(rest_[1])) {
        return TomlError{here_, "no backslash may end a line here; write the text on one line"};
      }
      skip(is_escape ? 2 : 1);
    }
    skip(end.size());
    // Up to five quotes may end such a string: its text may end in two.
    for (int i = 0; is_multiline && i < 2 && rest_.starts_with(quote); ++i) skip(1);
    return std::nullopt;
  }

  void skip(std::size_t count) {
    for (const char c : rest_.substr(0, count)) {
      if (c == '\n') {
        here_ = {here_.line + 1, 1};
      } else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
        ++here_.column;  // columns count characters
      }
    }
    rest_.remove_prefix(std::min(count, rest_.size()));
  }

  std::string_view rest_;
  Position here_{1, 1};
  std::size_t dots_ = 0;  // in the key
};

TomlType type_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return TomlType::kString;
    case toml::node_type::integer:
      return TomlType::kInteger;
    case toml::node_type::floating_point:
      return TomlType::kFloat;
    case toml::node_type::boolean:
      return TomlType::kBoolean;
    case toml::node_type::array:
      return TomlType::kArray;
    case toml::node_type::table:
      return TomlType::kTable;
    case toml::node_type::none:
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      break;
  }
  return TomlType::kDateTime;
}

/// As deep as the text nests: kKeyPartsMax for each of toml++'s own 256 levels of arrays and inline
/// tables.
TomlValue convert(const toml::node& node, const Lines& lines) {
  TomlValue value;
  value.type = type_of(node);
  value.position = position_of(node.source().begin);
  if (const auto* string = node.as_string()) {
    value.text = string->get();
    value.shown = quote(value.text);
  } else if (const auto* array = node.as_array()) {
    for (const toml::node& element : *array) value.elements.push_back(convert(element, lines));
  } else if (const auto* table = node.as_table()) {
    for (const auto& [key, entry] : *table) {
      value.entries.push_back({.key = std::string(key.str()),
                               .position = position_of(key.source().begin),
                               .value = convert(entry, lines)});
    }
  } else {
    if (const auto* integer = node.as_integer()) value.integer = integer->get();
    if (const auto* boolean = node.as_boolean()) value.boolean = boolean->get();
    value.shown = lines.plain(node.source());
  }
  return value;
}

/// toml++'s message, the line it is about, and the cause where it is the commonest of all.
TomlError explain(const toml::parse_error& error, const Lines& lines) {
  const Position position = position_of(error.source().begin);
  std::string message = "not valid TOML: " + printable(error.description());
  const std::string_view line = lines.line(position.line);
  if (!line.empty()) message += fmt::format("; the line is {}", quote(line));
  if (error.description().contains("could not determine value type")) {
    message += "; text stands in double quotes";
  }
  return {position, message};
}

}  // namespace

std::string_view to_string(TomlType type) {
  switch (type) {
    case TomlType::kString:
      return "a string";
    case TomlType::kInteger:
      return "an integer";
    case TomlType::kFloat:
      return "a float";
    case TomlType::kBoolean:
      return "a boolean";
    case TomlType::kDateTime:
      return "a date-time";
    case TomlType::kArray:
      return "an array";
    case TomlType::kTable:
      return "a table";
  }
  return "a value";
}

std::expected<TomlValue, TomlError> parse_toml(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.size() > kConfigBytesMax) {
    return std::unexpected(TomlError{{}, fmt::format("larger than {} bytes", kConfigBytesMax)});
  }
  if (auto trouble = Precheck(text).find_trouble()) return std::unexpected(*std::move(trouble));
  const Lines lines(text);
  try {
    return convert(toml::parse(text), lines);
  } catch (const toml::parse_error& error) {
    return std::unexpected(explain(error, lines));
  } catch (const std::exception& error) {
    return std::unexpected(
        TomlError{{}, fmt::format("cannot be parsed: {}", printable(error.what()))});
  }
}

}  // namespace mc::config
