// SPDX-License-Identifier: Apache-2.0
#include "traffic/histogram.hpp"

#include <algorithm>
#include <functional>

#include "support/catch.hpp"

namespace mc::traffic {
namespace {

constexpr Buckets<3> kTens{10, 20, 30};

TEST_CASE("a value is counted in the first bucket whose bound it does not exceed") {
  Histogram<kTens> histogram;
  for (const std::uint64_t value : {0U, 10U, 11U, 30U, 31U, 1000U}) histogram.observe(value);
  HistogramTotals totals;
  histogram.add_to(totals);
  CHECK(std::ranges::equal(totals.bounds, kTens));
  CHECK(totals.counts == std::vector<std::uint64_t>{2, 1, 1, 2});
  CHECK(totals.sum == 1082);
}

TEST_CASE("histograms of several workers add up") {
  Histogram<kTens> one;
  Histogram<kTens> other;
  one.observe(5);
  other.observe(5);
  other.observe(25);
  HistogramTotals totals;
  one.add_to(totals);
  other.add_to(totals);
  CHECK(totals.counts == std::vector<std::uint64_t>{2, 0, 1, 0});
  CHECK(totals.sum == 35);
}

TEST_CASE("the bounds of all buckets ascend") {
  const auto ascends = [](const auto& bounds) {
    return std::ranges::adjacent_find(bounds, std::greater_equal<>()) == bounds.end();
  };
  CHECK(ascends(kWaitBucketsMs));
  CHECK(ascends(kSessionBucketsMs));
  CHECK(ascends(kByteBuckets));
}

}  // namespace
}  // namespace mc::traffic
