// SPDX-License-Identifier: Apache-2.0
#pragma once
// What Prometheus wants to know of any process, by the names that all its clients give. One thread.

#include <prometheus/metric_family.h>

#include <vector>

#include "base/fd.hpp"

namespace mc::metrics {

/// Opens what it reads at once: when there are no descriptors left, the process still is of
/// interest.
class Process {
 public:
  Process();

  /// process_start_time_seconds, process_cpu_seconds_total, process_resident_memory_bytes and
  /// process_max_fds. Not how many descriptors are open: to count a million takes the kernel 0.1 s,
  /// and a connection has two.
  void collect(std::vector<prometheus::MetricFamily>& families) const;

 private:
  const Fd statm_;  // of /proc/self
  const double started_at_;
};

}  // namespace mc::metrics
