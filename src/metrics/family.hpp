// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes metrics in prometheus-cpp's terms. Pure; any thread.

#include <prometheus/metric_family.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "traffic/histogram.hpp"

namespace mc::metrics {

using Labels = std::vector<prometheus::ClientMetric::Label>;

/// A metric by name, with help in one line.
inline prometheus::MetricFamily family(prometheus::MetricType type, std::string name,
                                       std::string help) {
  return {.name = std::move(name), .help = std::move(help), .type = type, .metric = {}};
}

/// Adds a series of a counter or a gauge.
void add(prometheus::MetricFamily& family, double value, Labels labels = {});

/// Adds a series of a histogram; `divisor` units make the base unit: 1000 for milliseconds.
void add(prometheus::MetricFamily& family, const traffic::HistogramTotals& totals, double divisor,
         Labels labels);

}  // namespace mc::metrics
