// SPDX-License-Identifier: Apache-2.0
#include "config/iso3166.hpp"

#include "support/catch.hpp"

namespace mc::config {

TEST_CASE("assigned codes are countries, from the first to the last, and so is Kosovo's") {
  for (const char* code : {"AD", "DE", "GB", "GR", "SS", "US", "XK", "ZW"}) {
    INFO(code);
    CHECK(is_country(code));
  }
}

TEST_CASE("what is reserved, withdrawn or no code is no country") {
  // Of the user's own, the European Union, Yugoslavia, the Soviet Union, GeoIP's anonymous proxies.
  for (const char* code : {"XX", "EU", "YU", "SU", "A1", "UK", "AA", "ZZ"}) {
    INFO(code);
    CHECK_FALSE(is_country(code));
  }
  // The table is one text: what spans two of its codes, or is written in another way, is none.
  for (const char* code : {"DA", "", "D", "DEU", "de", "ADAE"}) {
    INFO(code);
    CHECK_FALSE(is_country(code));
  }
}

TEST_CASE("who writes a code that is in common use is told the one that is meant") {
  CHECK(meant_country("UK") == "GB");
  CHECK(meant_country("EL") == "GR");
  CHECK(meant_country("DE").empty());
  CHECK(meant_country("XX").empty());
  for (const char* code : {"UK", "EL"}) CHECK(is_country(meant_country(code)));
}

}  // namespace mc::config
