// SPDX-License-Identifier: Apache-2.0
#include "health/standing.hpp"

#include "support/catch.hpp"
#include "unit/health/pools.hpp"

using namespace mc::health;
using namespace mc::health::testing;

namespace {

constexpr auto kPasses = Health::kUp;
constexpr auto kFails = Health::kDown;

mc::policy::Check rise_and_fall(std::int64_t rise, std::int64_t fall) {
  auto check = quick_check(CheckKind::kTcp);
  check.rise = rise;
  check.fall = fall;
  return check;
}

}  // namespace

TEST_CASE("the first check of an unchecked backend decides") {
  const auto check = rise_and_fall(3, 3);
  for (const Health found : {kPasses, kFails}) {
    Standing standing(Health::kUnchecked);
    CHECK(standing.count(found, check) == 1);
    CHECK(standing.health() == found);
    CHECK_FALSE(standing.is_changing());
  }
}

TEST_CASE("a backend that is up goes down after as many failures as fall says") {
  Standing standing(Health::kUp);
  const auto check = rise_and_fall(2, 3);
  CHECK(standing.count(kFails, check) == 0);
  CHECK(standing.count(kFails, check) == 0);
  CHECK(standing.health() == Health::kUp);
  CHECK(standing.count(kFails, check) == 3);
  CHECK(standing.health() == Health::kDown);
}

TEST_CASE("results that alternate change nothing") {
  Standing standing(Health::kDown);
  const auto check = rise_and_fall(2, 2);
  for (int i = 0; i < 10; ++i) {
    CHECK(standing.count(kPasses, check) == 0);
    CHECK(standing.is_changing());
    CHECK(standing.count(kFails, check) == 0);
    CHECK_FALSE(standing.is_changing());
  }
  CHECK(standing.count(kPasses, check) == 0);
  CHECK(standing.count(kPasses, check) == 2);
  CHECK(standing.health() == Health::kUp);
}

TEST_CASE("a smaller rise takes effect with the next result") {
  Standing standing(Health::kDown);
  for (int i = 0; i < 4; ++i) CHECK(standing.count(kPasses, rise_and_fall(10, 1)) == 0);
  CHECK(standing.count(kPasses, rise_and_fall(2, 1)) == 5);
}
