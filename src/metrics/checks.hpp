// SPDX-License-Identifier: Apache-2.0
#pragma once
// The metrics of the health checks. Pure; any thread.

#include <prometheus/metric_family.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mc::metrics {

/// What the server hands in, so that this room needs no checker.
struct CheckTotals {
  std::size_t targets = 0;
  std::uint64_t passed = 0;
  std::uint64_t failed = 0;
  std::chrono::milliseconds lateness{0};
};

std::vector<prometheus::MetricFamily> collect_checks(const CheckTotals& totals);

}  // namespace mc::metrics
