// SPDX-License-Identifier: Apache-2.0
#pragma once
// The metrics of the backends of pools. Only reads; any thread.

#include <prometheus/metric_family.h>

#include <cstddef>
#include <vector>

#include "base/clock.hpp"
#include "policy/live_pool.hpp"

namespace mc::metrics {

/// The series of the first `most` backends, in the order of their pools' names and within a pool as
/// it is specified, so that traffic does not change the choice; and the number of those left out.
std::vector<prometheus::MetricFamily> collect_backends(const policy::LivePools& pools, Instant now,
                                                       std::size_t most);

}  // namespace mc::metrics
