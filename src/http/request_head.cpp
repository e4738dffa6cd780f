// SPDX-License-Identifier: Apache-2.0
#include "http/request_head.hpp"

#include <algorithm>
#include <expected>

#include "base/ascii.hpp"
#include "http/characters.hpp"

namespace mc::http {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kVersionPrefix = "HTTP/";

// "1.1" of "HTTP/1.1" is its minor version 1.
std::expected<std::uint8_t, Malformed> minor_version(std::string_view version) {
  const bool is_version = version.size() == kVersionPrefix.size() + 3 &&
                          version.starts_with(kVersionPrefix) && is_digit(version[5]) &&
                          version[6] == '.' && is_digit(version[7]);
  if (!is_version) return std::unexpected(Malformed{Status::kBadRequest});
  if (version.ends_with("1.0")) return 0;
  if (version.ends_with("1.1")) return 1;
  return std::unexpected(Malformed{Status::kVersionNotSupported});
}

std::optional<Malformed> read_request_line(std::string_view line, RequestHead& head) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == line.npos || first == last) return Malformed{};
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, last - first - 1);
  if (!is_token(head.method) || head.target.empty()) return Malformed{};
  if (!std::ranges::all_of(head.target, is_visible_character)) return Malformed{};
  const auto minor = minor_version(line.substr(last + 1));
  if (!minor.has_value()) return minor.error();
  head.minor_version = *minor;
  return std::nullopt;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool is_host(std::string_view name) {
  return std::ranges::equal(name, std::string_view("host"), {}, to_lower);
}

// A blank before the name or the colon makes no token: a folded line is refused by that too.
std::optional<Malformed> read_field(std::string_view line, RequestHead& head) {
  const auto colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) return Malformed{};
  if (!is_host(line.substr(0, colon))) return std::nullopt;
  if (head.host.has_value()) return Malformed{};
  head.host = trimmed(line.substr(colon + 1));
  return std::nullopt;
}

// What has come of a line that has not ended may end with the CR of its end.
bool can_go_on(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return is_field_value(line);
}

HeadResult unfinished(std::string_view line, std::size_t line_start, std::size_t size) {
  if (!can_go_on(line)) return Malformed{};
  if (size < kHeadBytesMax) return Incomplete{};
  return Malformed{line_start == 0 ? Status::kUriTooLong : Status::kHeaderFieldsTooLarge};
}

}  // namespace

HeadResult parse_request_head(std::string_view bytes) {
  bytes = bytes.substr(0, kHeadBytesMax);
  RequestHead head;
  for (std::size_t start = 0;;) {
    const auto end = bytes.find('\n', start);
    if (end == bytes.npos) return unfinished(bytes.substr(start), start, bytes.size());
    std::string_view line = bytes.substr(start, end + 1 - start);
    if (!line.ends_with(kLineEnd)) return Malformed{};
    line.remove_suffix(kLineEnd.size());
    if (!is_field_value(line)) return Malformed{};

    head.size = end + 1;
    if (start != 0 && line.empty()) return head;
    const auto wrong = start == 0 ? read_request_line(line, head) : read_field(line, head);
    if (wrong.has_value()) return *wrong;
    start = end + 1;
  }
}

}  // namespace mc::http
