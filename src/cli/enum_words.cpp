// SPDX-License-Identifier: Apache-2.0
#include "cli/enum_words.hpp"

#include <algorithm>
#include <cstddef>

#include "base/ascii.hpp"

namespace mc::cli {
namespace {

// The unspecified value has the name of the enum, and then this.
constexpr std::string_view kUnspecified = "UNSPECIFIED";

std::string word_at(const EnumType& type, int index) {
  const std::size_t prefix = type.value(0)->name().size() - kUnspecified.size();
  std::string word(type.value(index)->name().substr(prefix));
  std::ranges::transform(word, word.begin(), to_lower);
  return word;
}

}  // namespace

std::string enum_word(const EnumType& type, int value) {
  const auto* const found = type.FindValueByNumber(value);
  return found == nullptr || value == 0 ? "unknown" : word_at(type, found->index());
}

std::vector<std::string> enum_words(const EnumType& type) {
  std::vector<std::string> words;
  for (int index = 1; index < type.value_count(); ++index) words.push_back(word_at(type, index));
  return words;
}

int enum_value(const EnumType& type, std::string_view word) {
  for (int index = 1; index < type.value_count(); ++index) {
    if (word_at(type, index) == word) return type.value(index)->number();
  }
  return 0;
}

}  // namespace mc::cli
