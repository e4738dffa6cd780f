// SPDX-License-Identifier: Apache-2.0
#include "base/quote.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <ranges>

namespace mc {
namespace {

/// One character at the start of a text; `size` is never 0, and is 1 for a byte that is no UTF-8.
struct Character {
  char32_t code = 0;
  std::size_t size = 1;
  bool is_valid = false;
};

struct Range {
  char32_t first, last;
};

// What is escaped beyond ASCII: controls, spaces other than ' ', format characters (which can
// reorder or hide text), private use and non-characters. Unicode's unassigned code points are not
// listed: they are harmless, and the list would age.
constexpr Range kHidden[] = {
    {0x80, 0xa0},       {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
    {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},
    {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},   {0x2028, 0x202f},
    {0x205f, 0x206f},   {0x3000, 0x3000},   {0xe000, 0xf8ff},   {0xfdd0, 0xfdef},
    {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff},
};
static_assert(std::ranges::is_sorted(kHidden, {}, &Range::last), "is_printable() searches it");

bool is_printable(char32_t code) {
  if (code < 0x80) return code >= 0x20 && code != 0x7f;
  const auto* range = std::ranges::lower_bound(kHidden, code, {}, &Range::last);
  return range == std::end(kHidden) || code < range->first;
}

/// Decodes the first character of a text that is not empty. Overlong forms, surrogates and values
/// beyond U+10FFFF are not valid (RFC 3629).
Character decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
  char32_t code = lead & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool is_overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
  if (is_overlong || is_surrogate || code > 0x10ffff) return {};
  return {code, size, true};
}

void append_escape(std::string& out, char32_t code) {
  constexpr std::string_view kNamed = "\a\b\f\n\r\t\v";
  constexpr std::string_view kNames = "abfnrtv";
  const auto code_value = static_cast<std::uint32_t>(code);
  const auto to = std::back_inserter(out);
  if (code == '"' || code == '\\') {
    out += '\\';
    out += static_cast<char>(code);
  } else if (const auto named = kNamed.find(static_cast<char>(code));
             code < 0x20 && named < kNamed.size()) {
    out += '\\';
    out += kNames[named];
  } else if (code < 0x80) {
    fmt::format_to(to, "\\x{:02x}", code_value);
  } else if (code < 0x10000) {
    fmt::format_to(to, "\\u{:04x}", code_value);
  } else {
    fmt::format_to(to, "\\U{:08x}", code_value);
  }
}

bool is_bare(std::string_view text) {
  if (text.empty()) return false;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = decode(text.substr(at));
    if (!c.is_valid || !is_printable(c.code)) return false;
    if (c.code == ' ' || c.code == '=' || c.code == '"') return false;
    at += c.size;
  }
  return true;
}

enum class Delimiters : std::uint8_t { kEscaped, kPlain };

/// `delimiters` are the double quote, and the backslash that escapes it.
void append_escaped(std::string& out, std::string_view text, Delimiters delimiters) {
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const Character c = decode(rest);
    const bool is_delimiter = c.code == '"' || c.code == '\\';
    if (!c.is_valid) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<std::uint8_t>(rest[0]));
    } else if (!is_printable(c.code) || (is_delimiter && delimiters == Delimiters::kEscaped)) {
      append_escape(out, c.code);
    } else {
      out += rest.substr(0, c.size);
    }
    at += c.size;
  }
}

}  // namespace

std::string quote(std::string_view text) {
  const std::string_view shown = utf8_prefix(text, kQuotedBytesMax);
  std::string out = "\"";
  append_escaped(out, shown, Delimiters::kEscaped);
  out += shown.size() < text.size() ? "...\"" : "\"";
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  append_escaped(out, text, Delimiters::kPlain);
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text, Delimiters::kEscaped);
  out += '"';
}

void append_log_value(std::string& out, std::string_view text) {
  if (is_bare(text)) {
    out += text;
  } else {
    append_quoted(out, text);
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const Character c = decode(rest);
    if (!c.is_valid) {
      out += "\\ufffd";
    } else if (c.code == '"' || c.code == '\\') {
      out += '\\';
      out += rest[0];
    } else if (is_printable(c.code)) {
      out += rest.substr(0, c.size);
    } else if (c.code < 0x10000) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c.code));
    } else {
      // JSON has no single escape beyond the basic plane; the character itself is always allowed.
      out += rest.substr(0, c.size);
    }
    at += c.size;
  }
  out += '"';
}

std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  // A character has at most four bytes: a cut inside one is at most three bytes behind its start.
  for (std::size_t back = 0; back < 4 && back < bytes_max; ++back) {
    if ((static_cast<std::uint8_t>(text[bytes_max - back]) & 0xc0) != 0x80) {
      return text.substr(0, bytes_max - back);
    }
  }
  return text.substr(0, bytes_max);
}

}  // namespace mc
