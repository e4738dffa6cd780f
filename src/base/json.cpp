// SPDX-License-Identifier: Apache-2.0
#include "base/json.hpp"

#include <utility>

#include "base/assert.hpp"
#include "base/quote.hpp"

namespace mc {

JsonWriter& JsonWriter::begin(char open, char close, Layout layout) {
  separate();
  text_ += open;
  levels_.push_back({.close = close, .layout = layout});
  return *this;
}

JsonWriter& JsonWriter::end() {
  MC_ASSERT(!levels_.empty() && !follows_key_, "nothing is open, or a value is missing");
  const Level level = levels_.back();
  levels_.pop_back();
  if (level.layout == Layout::kLines) break_line();
  text_ += level.close;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  value(name);
  text_ += ": ";
  follows_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_json_string(text_, text);
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view token) {
  separate();
  text_ += token;
  return *this;
}

const std::string& JsonWriter::text() const {
  MC_ASSERT(levels_.empty(), "an object or array is still open");
  return text_;
}

// Writes what stands between the item before and the next one.
void JsonWriter::separate() {
  if (std::exchange(follows_key_, false) || levels_.empty()) return;
  const bool is_first = std::exchange(levels_.back().is_empty, false);
  if (!is_first) text_ += ',';
  if (levels_.back().layout == Layout::kLines) {
    break_line();
  } else if (!is_first) {
    text_ += ' ';
  }
}

void JsonWriter::break_line() {
  text_ += '\n';
  text_.append(levels_.size(), ' ');
}

}  // namespace mc
