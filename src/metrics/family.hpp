// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes metrics in prometheus-cpp's terms. Pure; any thread.

#include <prometheus/metric_family.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
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

inline double number(std::uint64_t value) { return static_cast<double>(value); }
inline double number(const std::atomic<std::uint64_t>& value) {
  return number(value.load(std::memory_order_relaxed));
}

/// The labels and one more.
inline Labels with(Labels labels, const char* name, std::string_view value) {
  labels.push_back({name, std::string(value)});
  return labels;
}

/// Adds a series of a counter or a gauge.
void add(prometheus::MetricFamily& family, double value, Labels labels = {});

/// Adds a series of a histogram; `divisor` units make the base unit: 1000 for milliseconds.
void add(prometheus::MetricFamily& family, const traffic::HistogramTotals& totals, double divisor,
         Labels labels);

}  // namespace mc::metrics
