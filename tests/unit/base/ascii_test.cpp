// SPDX-License-Identifier: Apache-2.0
#include "base/ascii.hpp"

#include <string_view>

#include "support/catch.hpp"

TEST_CASE("Digits and letters are those of ASCII, and only letters have a case") {
  constexpr std::string_view kDigits = "0123456789";
  constexpr std::string_view kSmall = "abcdefghijklmnopqrstuvwxyz";
  constexpr std::string_view kLarge = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (int byte = 0; byte < 256; ++byte) {
    const auto c = static_cast<char>(byte);
    const auto small = kSmall.find(c);
    const auto large = kLarge.find(c);
    CHECK(mc::is_digit(c) == kDigits.contains(c));
    CHECK(mc::is_letter(c) == (small != kSmall.npos || large != kLarge.npos));
    CHECK(mc::to_lower(c) == (large != kLarge.npos ? kSmall[large] : c));
    CHECK(mc::to_upper(c) == (small != kSmall.npos ? kLarge[small] : c));
  }
}
