// SPDX-License-Identifier: Apache-2.0
#include "config/section.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

#include "base/duration.hpp"
#include "base/quote.hpp"
#include "base/spelling.hpp"

namespace mc::config {
namespace {

/// A key as it stands in TOML: bare, or in quotes.
std::string key_text(std::string_view key) {
  constexpr std::string_view kBare =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  const bool is_bare = !key.empty() && key.find_first_not_of(kBare) == key.npos;
  return is_bare && key.size() <= kQuotedBytesMax ? std::string(key) : quote(key);
}

}  // namespace

void Problems::add(Position position, std::string key, std::string message) {
  problems_.push_back({file_, position, std::move(key), {}, std::move(message)});
}

void Problems::add(const TomlValue& value, std::string key, std::string message) {
  if (value.shown.empty()) message = key + ": " + message;
  problems_.push_back({file_, value.position, std::move(key), value.shown, std::move(message)});
}

void Problems::add(const TomlValue& value, std::string key, const Error& error) {
  std::string_view message = error.message;
  const std::string repeated = value.shown + ": ";
  if (message.starts_with(repeated)) message.remove_prefix(repeated.size());
  add(value, std::move(key), std::string(message));
}

std::vector<Problem> Problems::sorted() && {
  std::ranges::sort(problems_, {},
                    [](const Problem& problem) { return std::tie(problem.position, problem.key); });
  return std::move(problems_);
}

Section::Section(const TomlValue& table, std::string path, std::span<const std::string_view> known,
                 Problems& problems)
    : table_(table), path_(std::move(path)), problems_(problems) {
  for (const TomlEntry& entry : table.entries) {
    if (std::ranges::find(known, entry.key) != known.end()) continue;
    const std::string key = path_of(key_text(entry.key));
    const std::string_view meant = closest(entry.key, known);
    const std::string advice = meant.empty() ? fmt::format("known here: {}", fmt::join(known, ", "))
                                             : fmt::format("did you mean {}?", quote(meant));
    problems_.add(entry.position, key, fmt::format("{}: unknown key; {}", key, advice));
  }
}

std::string Section::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const TomlEntry* Section::find(std::string_view key) const {
  const auto entry = std::ranges::find(table_.entries, key, &TomlEntry::key);
  return entry == table_.entries.end() ? nullptr : &*entry;
}

void Section::wrong_type(const TomlValue& value, std::string path, std::string_view wanted,
                         std::string_view advice) const {
  problems_.add(
      value, std::move(path),
      fmt::format("{}, but {} is wanted; write {}", to_string(value.type), wanted, advice));
}

std::optional<Node> Section::get(std::string_view key, TomlType type,
                                 std::string_view example) const {
  const TomlEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->value.type == type) return Node{&entry->value, path_of(key)};
  wrong_type(entry->value, path_of(key), to_string(type), fmt::format("{} = {}", key, example));
  return std::nullopt;
}

std::optional<Node> Section::require(std::string_view key, TomlType type,
                                     std::string_view example) const {
  if (!has(key)) {
    problems_.add(table_.position, path_of(key),
                  fmt::format("{} is required; write {} = {}", path_of(key), key, example));
  }
  return get(key, type, example);
}

std::optional<Node> Section::table(std::string_view key) const {
  const TomlEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->value.type == TomlType::kTable) return Node{&entry->value, path_of(key)};
  // [[key]] makes an array of one table.
  wrong_type(entry->value, path_of(key), "a table", fmt::format("[{}]", path_of(key)));
  return std::nullopt;
}

std::vector<Node> Section::tables(std::string_view key) const {
  std::vector<Node> found;
  const TomlEntry* entry = find(key);
  if (entry == nullptr) return found;
  const std::string header = fmt::format("[[{}]]", path_of(key));
  if (entry->value.type != TomlType::kArray) {
    wrong_type(entry->value, path_of(key), "an array of tables", header);
    return found;
  }
  const auto& elements = entry->value.elements;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    std::string path = fmt::format("{}[{}]", path_of(key), i);
    if (elements[i].type == TomlType::kTable) {
      found.push_back({&elements[i], std::move(path)});
    } else {
      wrong_type(elements[i], std::move(path), "a table", header);
    }
  }
  return found;
}

std::vector<Node> Section::strings(std::string_view key, std::string_view example) const {
  std::vector<Node> found;
  const auto array = get(key, TomlType::kArray, fmt::format("[{}]", example));
  if (!array) return found;
  const auto& elements = array->value->elements;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    std::string path = fmt::format("{}[{}]", array->path, i);
    if (elements[i].type == TomlType::kString) {
      found.push_back({&elements[i], std::move(path)});
    } else {
      wrong_type(elements[i], std::move(path), "a string", fmt::format("{} = [{}]", key, example));
    }
  }
  return found;
}

void Section::read_boolean(std::string_view key, bool& target) const {
  const auto found = get(key, TomlType::kBoolean, target ? "true" : "false");
  if (found) target = found->value->boolean;
}

void Section::read_integer(std::string_view key, std::int64_t min, std::int64_t max,
                           std::int64_t& target) const {
  const auto found = get(key, TomlType::kInteger, fmt::format("{}", target));
  if (!found) return;
  const std::int64_t value = found->value->integer;
  if (value >= min && value <= max) {
    target = value;
  } else {
    problems_.add(*found->value, found->path,
                  fmt::format("out of range; write a number from {} to {}", min, max));
  }
}

void Section::read_duration(std::string_view key, std::chrono::milliseconds min,
                            std::chrono::milliseconds max,
                            std::chrono::milliseconds& target) const {
  const auto found = get(key, TomlType::kString, quote(format_duration(target)));
  if (!found) return;
  const auto value = parse_duration(found->value->text);
  if (!value) {
    problems_.add(*found->value, found->path, value.error());
  } else if (*value < min || *value > max) {
    problems_.add(*found->value, found->path,
                  fmt::format("out of range; write a duration from {} to {}",
                              quote(format_duration(min)), quote(format_duration(max))));
  } else {
    target = *value;
  }
}

std::optional<std::size_t> Section::read_word(std::string_view key,
                                              std::span<const std::string_view> words) const {
  const auto found = get(key, TomlType::kString, quote(words.front()));
  if (!found) return std::nullopt;
  const auto word = std::ranges::find(words, std::string_view(found->value->text));
  if (word != words.end()) return static_cast<std::size_t>(word - words.begin());
  const std::string_view meant = closest(found->value->text, words);
  const std::string advice = meant.empty()
                                 ? fmt::format("write \"{}\"", fmt::join(words, "\" or \""))
                                 : fmt::format("did you mean {}?", quote(meant));
  problems_.add(*found->value, found->path, "not one of the choices; " + advice);
  return std::nullopt;
}

}  // namespace mc::config
