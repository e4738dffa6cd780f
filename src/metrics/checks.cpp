// SPDX-License-Identifier: Apache-2.0
#include "metrics/checks.hpp"

#include <utility>

#include "metrics/family.hpp"

namespace mc::metrics {

using prometheus::MetricType;

std::vector<prometheus::MetricFamily> collect_checks(const CheckTotals& totals) {
  auto targets = family(MetricType::Gauge, "mc_proxy_check_targets",
                        "Targets that are checked: backends of several pools with the same address "
                        "and check are one.");
  add(targets, number(totals.targets));
  auto checks = family(MetricType::Counter, "mc_proxy_checks_total",
                       "Health checks by result. One that could not be made, for lack of "
                       "descriptors or memory, is neither.");
  add(checks, number(totals.passed), {{"result", "passed"}});
  add(checks, number(totals.failed), {{"result", "failed"}});
  auto lateness = family(MetricType::Gauge, "mc_proxy_check_lateness_seconds",
                         "How late the latest check of the last 10 s started.");
  add(lateness, std::chrono::duration<double>(totals.lateness).count());
  std::vector<prometheus::MetricFamily> families;
  for (auto* const made : {&targets, &checks, &lateness}) families.push_back(std::move(*made));
  return families;
}

}  // namespace mc::metrics
