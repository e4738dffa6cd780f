// SPDX-License-Identifier: Apache-2.0
#include "base/duration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>

#include "base/ascii.hpp"
#include "base/quote.hpp"

namespace mc {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t milliseconds;
};
constexpr Unit kUnits[] = {
    {"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};

/// Removes and returns the longest start of `rest` whose characters all satisfy `belongs`.
template <class Predicate>
std::string_view take_while(std::string_view& rest, Predicate belongs) {
  const auto end = std::ranges::find_if_not(rest, belongs);
  const auto taken = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
  rest.remove_prefix(taken.size());
  return taken;
}

/// `digits` as a number of milliseconds times `scale`, or nothing when it does not fit.
std::optional<std::int64_t> scaled(std::string_view digits, std::int64_t scale) {
  std::int64_t value = 0;
  for (const char c : digits) {
    if (__builtin_mul_overflow(value, 10, &value)) return std::nullopt;
    if (__builtin_add_overflow(value, c - '0', &value)) return std::nullopt;
  }
  if (__builtin_mul_overflow(value, scale, &value)) return std::nullopt;
  return value;
}

/// The digits after a decimal point as milliseconds, exactly; nothing if the result is not whole.
std::optional<std::int64_t> scaled_fraction(std::string_view digits, std::int64_t scale) {
  while (digits.ends_with('0')) digits.remove_suffix(1);
  // 10^k divides digits * 86,400,000 (2^10 * 3^3 * 5^5) for no k beyond 10, because digits ends in
  // no zero.
  if (digits.size() > 10) return std::nullopt;
  std::int64_t numerator = 0;
  std::int64_t divisor = 1;
  for (const char c : digits) {
    numerator = numerator * 10 + (c - '0');
    divisor *= 10;
  }
  if (numerator * scale % divisor != 0) return std::nullopt;
  return numerator * scale / divisor;
}

std::unexpected<Error> malformed(std::string_view text) {
  return fail(fmt::format("{}: not a duration; write one like \"10s\", \"250ms\" or \"1h30m\"",
                          quote(text)));
}

std::unexpected<Error> bad_unit(std::string_view text, std::string_view unit) {
  if (unit.empty()) {
    return fail(
        fmt::format("{}: the unit is missing; write \"{}s\" for seconds", quote(text), text));
  }
  return fail(fmt::format("{}: {} is not a unit of time here; use d, h, m, s or ms", quote(text),
                          quote(unit)));
}

}  // namespace

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  if (text.starts_with('-'))
    return fail(fmt::format("{}: a duration cannot be negative", quote(text)));
  if (text.empty()) return malformed(text);

  std::int64_t total = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const auto whole = take_while(rest, is_digit);
    const bool has_point = rest.starts_with('.');
    if (has_point) rest.remove_prefix(1);
    const auto fraction = has_point ? take_while(rest, is_digit) : std::string_view();
    if (whole.empty() || (has_point && fraction.empty())) return malformed(text);

    const auto name = take_while(rest, [](char c) { return !is_digit(c) && c != '.'; });
    const auto* unit = std::ranges::find(kUnits, name, &Unit::name);
    if (unit == std::end(kUnits)) return bad_unit(text, name);
    const auto whole_ms = scaled(whole, unit->milliseconds);
    const auto fraction_ms = scaled_fraction(fraction, unit->milliseconds);
    if (!fraction_ms) {
      return fail(fmt::format("{}: finer than a millisecond; durations are whole milliseconds",
                              quote(text)));
    }
    if (!whole_ms || __builtin_add_overflow(total, *whole_ms, &total) ||
        __builtin_add_overflow(total, *fraction_ms, &total)) {
      return fail(fmt::format("{}: too long a duration", quote(text)));
    }
  }
  return std::chrono::milliseconds(total);
}

std::string format_duration(std::chrono::milliseconds duration) {
  const auto count = duration.count();
  const std::string_view sign = count < 0 ? "-" : "";
  // The smallest value has no positive counterpart in its own type.
  const auto total =
      count < 0 ? -static_cast<std::uint64_t>(count) : static_cast<std::uint64_t>(count);
  if (total == 0) return "0s";
  if (total < 1000) return fmt::format("{}{}ms", sign, total);

  const std::uint64_t hours = total / 3'600'000;
  const std::uint64_t minutes = total / 60'000 % 60;
  std::string seconds = fmt::format("{}", total / 1000 % 60);
  if (total % 1000 != 0) {
    seconds += fmt::format(".{:03}", total % 1000);
    while (seconds.ends_with('0')) seconds.pop_back();
  }
  if (hours > 0) return fmt::format("{}{}h{}m{}s", sign, hours, minutes, seconds);
  if (minutes > 0) return fmt::format("{}{}m{}s", sign, minutes, seconds);
  return fmt::format("{}{}s", sign, seconds);
}

}  // namespace mc
