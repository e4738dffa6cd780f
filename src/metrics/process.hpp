// SPDX-License-Identifier: Apache-2.0
#pragma once
// Prometheus's metrics of any process, with the names that all its clients use. One thread.

#include <prometheus/metric_family.h>

#include <vector>

#include "base/fd.hpp"

namespace mc::metrics {

/// Opens its files at once, so that it works when there are no descriptors left.
class Process {
 public:
  Process();

  /// process_start_time_seconds, process_cpu_seconds_total, process_resident_memory_bytes and
  /// process_max_fds. Not the number of open descriptors: counting a million takes the kernel 0.1
  /// s, and a connection has two.
  void collect(std::vector<prometheus::MetricFamily>& families) const;

 private:
  const Fd statm_;  // of /proc/self
  const double started_at_;
};

}  // namespace mc::metrics
