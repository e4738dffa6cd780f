// SPDX-License-Identifier: Apache-2.0
#include "metrics/checks.hpp"

#include <prometheus/text_serializer.h>

#include <sstream>
#include <string>

#include "support/catch.hpp"

namespace mc::metrics {
namespace {

std::string text(const CheckTotals& totals) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, collect_checks(totals));
  return out.str();
}

TEST_CASE("checks are counted by result, with their targets and how late they start in seconds") {
  const std::string told =
      text({.targets = 3, .passed = 70, .failed = 8, .lateness = std::chrono::milliseconds(1500)});
  CHECK(told.contains("# TYPE mc_proxy_check_targets gauge\nmc_proxy_check_targets 3\n"));
  CHECK(told.contains("# TYPE mc_proxy_checks_total counter\n"));
  CHECK(told.contains("mc_proxy_checks_total{result=\"passed\"} 70\n"));
  CHECK(told.contains("mc_proxy_checks_total{result=\"failed\"} 8\n"));
  CHECK(told.contains("# TYPE mc_proxy_check_lateness_seconds gauge\n"));
  CHECK(told.contains("mc_proxy_check_lateness_seconds 1.5\n"));
}

TEST_CASE("before the first check every series is there, so that rate() sees it") {
  const std::string told = text({});
  CHECK(told.contains("mc_proxy_check_targets 0\n"));
  CHECK(told.contains("mc_proxy_checks_total{result=\"passed\"} 0\n"));
  CHECK(told.contains("mc_proxy_checks_total{result=\"failed\"} 0\n"));
  CHECK(told.contains("mc_proxy_check_lateness_seconds 0\n"));
}

}  // namespace
}  // namespace mc::metrics
