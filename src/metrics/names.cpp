// SPDX-License-Identifier: Apache-2.0
#include "metrics/names.hpp"

#include <algorithm>
#include <utility>

#include "metrics/family.hpp"

namespace mc::metrics {

using prometheus::MetricType;

std::vector<prometheus::MetricFamily> collect_names(const NameTotals& totals, std::size_t most) {
  auto queries = family(MetricType::Counter, "mc_proxy_dns_queries_total",
                        "Queries for names of backends by result. A query asks for all addresses "
                        "of a name.");
  add(queries, number(totals.answered), {{"result", "answered"}});
  add(queries, number(totals.failed), {{"result", "failed"}});
  auto names =
      family(MetricType::Gauge, "mc_proxy_dns_names", "Names that backends of pools have.");
  add(names, number(totals.names.size()));
  auto failing = family(MetricType::Gauge, "mc_proxy_dns_failing_names",
                        "Names that cannot be resolved now. Their last addresses stay in use.");
  add(failing, number(static_cast<std::uint64_t>(
                   std::ranges::count_if(totals.names, &NameTotals::Name::is_failing))));
  auto age = family(MetricType::Gauge, "mc_proxy_dns_answer_age_seconds",
                    "Since the last answer with addresses for the name; without one since the "
                    "start, there is no series.");
  for (const NameTotals::Name& name : totals.names) {
    if (age.metric.size() == most) break;
    if (!name.answer_age.has_value()) continue;
    add(age, std::chrono::duration<double>(*name.answer_age).count(), {{"name", name.name}});
  }
  std::vector<prometheus::MetricFamily> families;
  for (auto* const made : {&queries, &names, &failing}) families.push_back(std::move(*made));
  if (!age.metric.empty()) families.push_back(std::move(age));
  return families;
}

}  // namespace mc::metrics
