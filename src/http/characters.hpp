// SPDX-License-Identifier: Apache-2.0
#pragma once
// The sets of characters of HTTP (RFC 9110 sections 5.6.2 and 5.5) and of URIs (RFC 3986). Pure
// functions; any thread.

#include <algorithm>
#include <string_view>

#include "base/ascii.hpp"

namespace mc::http {

/// A character of a method or a field's name: tchar.
constexpr bool is_token_character(char c) {
  return is_letter(c) || is_digit(c) || std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

/// A character of a field's value. Bytes beyond ASCII are allowed, control characters but the
/// tabulator are not.
constexpr bool is_field_character(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || c == '\t';
}

/// A printing character of ASCII: any URI consists of these.
constexpr bool is_visible_character(char c) { return c > ' ' && c < '\x7f'; }

/// A character that stands for itself in each part of a URI: unreserved or sub-delims (RFC 3986
/// section 2).
constexpr bool is_plain_uri_character(char c) {
  return is_letter(c) || is_digit(c) || std::string_view("-._~!$&'()*+,;=").contains(c);
}

/// A character of a path or a query (RFC 3986 sections 3.3 and 3.4): pchar, '/', '?'. A '%' must
/// begin an escape, which is for the caller to check.
constexpr bool is_path_or_query_character(char c) {
  return is_plain_uri_character(c) || std::string_view(":@/?%").contains(c);
}

constexpr bool is_hex_digit(char c) {
  return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'f');
}

constexpr bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_character);
}
constexpr bool is_field_value(std::string_view text) {
  return std::ranges::all_of(text, is_field_character);
}

}  // namespace mc::http
