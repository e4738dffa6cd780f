// SPDX-License-Identifier: Apache-2.0
#pragma once
// The metrics: what the server is and does, in Prometheus's terms. Made anew for each scrape from
// the counters that are there anyway; nothing is counted for metrics alone, and no worker is asked.
// One thread.

#include <prometheus/collectable.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "control/control.hpp"
#include "metrics/process.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::metrics {

/// Servers that have been succeeded, and the connections of those that reply.
struct DrainingTotals {
  std::size_t servers = 0;
  std::uint64_t connections = 0;
};

/// What is told of. References outlive the collector.
struct Sources {
  const control::Control& control;
  const traffic::LiveTraffic& traffic;
  const Log& log;
  std::string version;
  std::uint64_t connections_max;
  /// Of each listener, the routes that have series of their own: the first so many by name, so that
  /// traffic does not change which.
  std::size_t routes_max;
  /// When the certificate in force over TCP ends; nothing without TCP.
  std::function<std::optional<std::chrono::sys_seconds>()> certificate_expiry;
  std::function<DrainingTotals()> draining;
};

class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(Sources sources) : sources_(std::move(sources)) {}

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

  /// All of it in Prometheus's text format.
  [[nodiscard]] std::string text() const;

 private:
  using Families = std::vector<prometheus::MetricFamily>;

  void collect_server(Families& families) const;
  void collect_draining(Families& families) const;
  void collect_traffic(Families& families, const traffic::Totals& totals) const;
  void collect_histograms(Families& families, const traffic::Totals& totals) const;
  void collect_limits(Families& families, const traffic::Totals& totals) const;
  void collect_policy(Families& families, const control::State& state) const;
  void collect_routes(Families& families, const control::State& state) const;

  const Sources sources_;
  const Process process_;
};

}  // namespace mc::metrics
