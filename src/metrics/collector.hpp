// SPDX-License-Identifier: Apache-2.0
#pragma once
// The server's metrics in Prometheus's terms. Each scrape computes them from existing counters;
// nothing is counted for metrics alone, and no worker is interrupted. One thread.

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
#include "metrics/checks.hpp"
#include "metrics/names.hpp"
#include "metrics/process.hpp"
#include "traffic/live_traffic.hpp"

namespace mc::metrics {

/// The number of servers that have handed over, and the connections of those that reply.
struct DrainingTotals {
  std::size_t servers = 0;
  std::uint64_t connections = 0;
};

/// Where the values come from. References outlive the collector.
struct Sources {
  const control::Control& control;
  const traffic::LiveTraffic& traffic;
  const Log& log;
  std::string version;
  std::uint64_t connections_max;
  /// For each listener, the number of routes with series of their own: the first ones by name, so
  /// that traffic does not change the choice.
  std::size_t routes_max;
  /// When the certificate in force over TCP expires; nothing without TCP.
  std::function<std::optional<std::chrono::sys_seconds>()> certificate_expiry;
  std::function<DrainingTotals()> draining;
  std::function<CheckTotals()> checks;
  std::function<NameTotals()> names;
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
  void collect_pools(Families& families, const control::State& state) const;

  const Sources sources_;
  const Process process_;
};

}  // namespace mc::metrics
