// SPDX-License-Identifier: Apache-2.0
#include "traffic/connection.hpp"

#include <fmt/format.h>

#include <charconv>

namespace mc::traffic {
namespace {

template <class Number>
bool read_number(std::string_view text, Number& number) {
  // One way to write each: no sign, no leading zero.
  if (text.size() > 1 && text.front() == '0') return false;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stopped == end;
}

}  // namespace

std::optional<ConnectionId> ConnectionId::parse(std::string_view text) {
  const auto dash = text.find('-');
  if (dash == text.npos) return std::nullopt;
  ConnectionId id;
  if (!read_number(text.substr(0, dash), id.worker)) return std::nullopt;
  if (!read_number(text.substr(dash + 1), id.number)) return std::nullopt;
  return id;
}

std::string ConnectionId::to_string() const { return fmt::format("{}-{}", worker, number); }

}  // namespace mc::traffic
