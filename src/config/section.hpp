// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads one table of the configuration: each getter checks the type, reports an error with the
// key's path, and lets the reading continue, so that one run finds every problem. A getter that
// finds nothing usable keeps its target, and thus the default. Belongs to one thread, for one load.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "config/problem.hpp"
#include "config/toml.hpp"

namespace mc::config {

/// The problems found so far in one file.
class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}

  /// About a key or the whole file; the message names the key.
  void add(Position position, std::string key, std::string message);
  /// About the value at `value`.
  void add(const TomlValue& value, std::string key, std::string message);
  /// About a value that a parser refused; the error may begin with the value, which is shown once.
  void add(const TomlValue& value, std::string key, const Error& error);

  [[nodiscard]] std::size_t size() const { return problems_.size(); }
  /// In the order of the file. Ends the collection.
  [[nodiscard]] std::vector<Problem> sorted() &&;

 private:
  std::string file_;
  std::vector<Problem> problems_;
};

/// A value and the path of keys that leads to it.
struct Node {
  const TomlValue* value;
  std::string path;
};

/// A table, being read. Refers to the tree and the problems; both outlive it.
class Section {
 public:
  /// Every key of the table that is not in `known` is a problem. The path of the whole file is
  /// empty.
  Section(const TomlValue& table, std::string path, std::span<const std::string_view> known,
          Problems& problems);

  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] std::string path_of(std::string_view key) const;
  [[nodiscard]] Position position() const { return table_.position; }

  /// The key's value when it is there and of the type; `example` is a value that would be right.
  [[nodiscard]] std::optional<Node> get(std::string_view key, TomlType type,
                                        std::string_view example) const;
  /// As get(), but a missing key is a problem too.
  [[nodiscard]] std::optional<Node> require(std::string_view key, TomlType type,
                                            std::string_view example) const;
  /// The table under the key.
  [[nodiscard]] std::optional<Node> table(std::string_view key) const;
  /// The tables under [[key]], those that are tables.
  [[nodiscard]] std::vector<Node> tables(std::string_view key) const;
  /// The strings of the array under the key, those that are strings.
  [[nodiscard]] std::vector<Node> strings(std::string_view key, std::string_view example) const;

  void read_boolean(std::string_view key, bool& target) const;
  void read_integer(std::string_view key, std::int64_t min, std::int64_t max,
                    std::int64_t& target) const;
  /// A duration between the two, both included.
  void read_duration(std::string_view key, std::chrono::milliseconds min,
                     std::chrono::milliseconds max, std::chrono::milliseconds& target) const;
  /// One of a few words, each of which stands for a value.
  template <class T>
  void read_choice(std::string_view key,
                   std::initializer_list<std::pair<std::string_view, T>> choices, T& target) const {
    read_one_of(key, choices, target);
  }
  template <class T, std::size_t n>
  void read_choice(std::string_view key,
                   const std::array<std::pair<std::string_view, T>, n>& choices, T& target) const {
    read_one_of(key, choices, target);
  }

 private:
  template <class Choices, class T>
  void read_one_of(std::string_view key, const Choices& choices, T& target) const {
    std::vector<std::string_view> words;
    for (const auto& choice : choices) words.push_back(choice.first);
    const auto index = read_word(key, words);
    if (index) target = (choices.begin() + *index)->second;
  }
  [[nodiscard]] const TomlEntry* find(std::string_view key) const;
  [[nodiscard]] std::optional<std::size_t> read_word(std::string_view key,
                                                     std::span<const std::string_view> words) const;
  void wrong_type(const TomlValue& value, std::string path, std::string_view wanted,
                  std::string_view advice) const;

  const TomlValue& table_;
  const std::string path_;
  Problems& problems_;
};

}  // namespace mc::config
