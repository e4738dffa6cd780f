// SPDX-License-Identifier: Apache-2.0
#include "base/duration.hpp"

#include <chrono>
#include <limits>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using mc::format_duration;
using mc::parse_duration;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

namespace {

milliseconds duration(std::string_view text) { return parse_duration(text).value(); }
std::string error(std::string_view text) { return parse_duration(text).error().message; }

}  // namespace

TEST_CASE("A duration is numbers with units") {
  CHECK(duration("5s") == 5s);
  CHECK(duration("250ms") == 250ms);
  CHECK(duration("1h30m") == 90min);
  CHECK(duration("30m1h") == 90min);
  CHECK(duration("1m1ms") == 60'001ms);
  CHECK(duration("30d") == 720h);
  CHECK(duration("1d12h") == 36h);
  CHECK(duration("0") == 0ms);
  CHECK(duration("0s") == 0ms);
}

TEST_CASE("A fraction counts when it comes out at whole milliseconds") {
  CHECK(duration("1.5s") == 1500ms);
  CHECK(duration("0.001s") == 1ms);
  CHECK(duration("1.50000000000000000000s") == 1500ms);
  CHECK(duration("0.0000075h") == 27ms);
  CHECK(duration("2.0ms") == 2ms);
  CHECK(duration("0.0009765625d") == 84'375ms);
  CHECK(error("0.00000000009765625d").contains("finer than a millisecond"));
  CHECK(error("1.5ms").contains("finer than a millisecond"));
  CHECK(error("0.0005s").contains("finer than a millisecond"));
  CHECK(error("0.00000000000000000000000000001h").contains("finer than a millisecond"));
}

TEST_CASE("What is not a duration is refused by name") {
  const std::string_view text =
      GENERATE("", "s", ".5s", "5.s", "1.5.5s", " 5s", "+5s", "1e3s", "ten");
  CHECK_FALSE(parse_duration(text).has_value());
  CHECK(error(text).starts_with('"' + std::string(text) + "\": "));
}

TEST_CASE("The error for a duration says what to write") {
  CHECK(error("5") == R"("5": the unit is missing; write "5s" for seconds)");
  CHECK(error("1w") == R"("1w": "w" is not a unit of time here; use d, h, m, s or ms)");
  CHECK(error("1h 30m").contains(R"("h " is not a unit)"));
  CHECK(error("-5s") == R"("-5s": a duration cannot be negative)");
  CHECK(error("5S").contains(R"("S" is not a unit)"));
}

TEST_CASE("A duration that no clock can hold is refused") {
  CHECK(duration("9223372036854775807ms") == milliseconds::max());
  CHECK(error("9223372036854775808ms").contains("too long"));
  CHECK(error("99999999999999999999h").contains("too long"));
  CHECK(error("106751991168d").contains("too long"));
  CHECK(error("9223372036854775807ms1ms").contains("too long"));
}

TEST_CASE("A duration is written as Go writes it") {
  CHECK(format_duration(4h + 32min + 10s) == "4h32m10s");
  CHECK(format_duration(5min) == "5m0s");
  CHECK(format_duration(1h) == "1h0m0s");
  CHECK(format_duration(10s) == "10s");
  CHECK(format_duration(250ms) == "250ms");
  CHECK(format_duration(1500ms) == "1.5s");
  CHECK(format_duration(61'001ms) == "1m1.001s");
  CHECK(format_duration(0ms) == "0s");
  CHECK(format_duration(-1500ms) == "-1.5s");
  CHECK(format_duration(milliseconds::min()) == "-2562047788015h12m55.808s");
}

TEST_CASE("A written duration reads back") {
  const auto value = GENERATE(0ms, 1ms, 999ms, 1s, 1001ms, 59'999ms, 60s, 1h, 90'061'001ms);
  CHECK(duration(format_duration(value)) == value);
}
