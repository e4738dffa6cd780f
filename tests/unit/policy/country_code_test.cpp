// SPDX-License-Identifier: Apache-2.0
#include "policy/country_code.hpp"

#include <set>
#include <string>

#include "support/catch.hpp"

namespace mc::policy {

TEST_CASE("two capital letters are a country code") {
  const auto code = CountryCode::from("DE");
  REQUIRE(code);
  CHECK(code->view() == "DE");
  CHECK(code == CountryCode::from("DE"));
  CHECK(code != CountryCode::from("ED"));
}

TEST_CASE("anything else is none") {
  for (const char* text : {"", "D", "DEU", "de", "De", "D1", "D ", "[[", "@@", "\xc3\x84"}) {
    INFO(text);
    CHECK_FALSE(CountryCode::from(text));
  }
}

TEST_CASE("every code has an index of its own") {
  std::set<std::size_t> seen;
  for (char first = 'A'; first <= 'Z'; ++first) {
    for (char second = 'A'; second <= 'Z'; ++second) {
      const auto code = CountryCode::from(std::string{first, second});
      REQUIRE(code);
      CHECK(code->index() < CountryCode::kCount);
      seen.insert(code->index());
    }
  }
  CHECK(seen.size() == CountryCode::kCount);
}

}  // namespace mc::policy
