// SPDX-License-Identifier: Apache-2.0
#pragma once
// A country as ISO 3166-1 alpha-2 writes it: firewall rules name it, the GeoIP database returns it.
// Any two capital letters are a code, because the set of countries changes.

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string_view>

namespace mc::policy {

/// Two capital letters, such as DE. A value; any thread.
class CountryCode {
 public:
  /// How many codes there can be; index() is below it.
  static constexpr std::size_t kCount = 26 * 26;

  /// The code that the text is, or nothing if it is not exactly two capital ASCII letters.
  static constexpr std::optional<CountryCode> from(std::string_view text) {
    if (text.size() != 2 || !is_capital(text[0]) || !is_capital(text[1])) return std::nullopt;
    return CountryCode({text[0], text[1]});
  }

  /// Points into this object.
  [[nodiscard]] constexpr std::string_view view() const& { return {letters_.data(), 2}; }
  std::string_view view() const&& = delete;

  /// A small number for use as a position in a table: 0 for AA, 675 for ZZ.
  [[nodiscard]] constexpr std::size_t index() const {
    return static_cast<std::size_t>(letters_[0] - 'A') * 26 +
           static_cast<std::size_t>(letters_[1] - 'A');
  }

  constexpr auto operator<=>(const CountryCode&) const = default;

 private:
  constexpr explicit CountryCode(std::array<char, 2> letters) : letters_(letters) {}
  static constexpr bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }

  std::array<char, 2> letters_;
};

}  // namespace mc::policy
