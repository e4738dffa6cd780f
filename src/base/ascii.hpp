// SPDX-License-Identifier: Apache-2.0
#pragma once
// Kinds and case of ASCII characters, whatever the locale, unlike <cctype>. Bytes beyond ASCII are
// no letters and stay as they are. Pure functions; any thread.

namespace mc {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr char to_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
}

}  // namespace mc
