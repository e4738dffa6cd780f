// SPDX-License-Identifier: Apache-2.0
#include "metrics/family.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>

namespace mc::metrics {

void add(prometheus::MetricFamily& family, double value, Labels labels) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  if (family.type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
}

void add(prometheus::MetricFamily& family, const traffic::HistogramTotals& totals, double divisor,
         Labels labels) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < totals.counts.size(); ++i) {
    count += totals.counts[i];
    const double bound = i < totals.bounds.size() ? static_cast<double>(totals.bounds[i]) / divisor
                                                  : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({.cumulative_count = count, .upper_bound = bound});
  }
  metric.histogram.sample_count = count;
  metric.histogram.sample_sum = static_cast<double>(totals.sum) / divisor;
}

}  // namespace mc::metrics
