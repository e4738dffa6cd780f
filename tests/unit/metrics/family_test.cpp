// SPDX-License-Identifier: Apache-2.0
#include "metrics/family.hpp"

#include <prometheus/text_serializer.h>

#include <sstream>
#include <string>

#include "support/catch.hpp"

namespace mc::metrics {
namespace {

using prometheus::MetricType;

std::string text(const prometheus::MetricFamily& family) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, {family});
  return out.str();
}

constexpr traffic::Buckets<2> kBounds{25, 1000};

TEST_CASE("a histogram is told with cumulative buckets, in its base unit") {
  auto waits = family(MetricType::Histogram, "wait_seconds", "Waits.");
  add(waits, {.bounds = kBounds, .counts = {2, 3, 1}, .sum = 4321}, 1000, {{"listener", ":443"}});
  const std::string told = text(waits);
  CHECK(told.contains("wait_seconds_count{listener=\":443\"} 6\n"));
  CHECK(told.contains("wait_seconds_sum{listener=\":443\"} 4.321\n"));
  CHECK(told.contains("wait_seconds_bucket{listener=\":443\",le=\"0.025\"} 2\n"));
  CHECK(told.contains("wait_seconds_bucket{listener=\":443\",le=\"1\"} 5\n"));
  CHECK(told.contains("wait_seconds_bucket{listener=\":443\",le=\"+Inf\"} 6\n"));
}

TEST_CASE("counters and gauges have their values, and labels cannot break out of their quotes") {
  auto counter = family(MetricType::Counter, "things_total", "Things.");
  add(counter, 9'007'199'254'740'991.0, {{"route", "a\"b\\c\nd"}});
  CHECK(text(counter).contains("things_total{route=\"a\\\"b\\\\c\\nd\"} 9007199254740991\n"));
  auto gauge = family(MetricType::Gauge, "things", "Things.");
  add(gauge, 3);
  CHECK(text(gauge).contains("# TYPE things gauge\nthings 3\n"));
}

}  // namespace
}  // namespace mc::metrics
