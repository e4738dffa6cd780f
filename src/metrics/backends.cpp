// SPDX-License-Identifier: Apache-2.0
#include "metrics/backends.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "metrics/family.hpp"

namespace mc::metrics {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// The families, while backends are added.
struct Backends {
  MetricFamily up = family(MetricType::Gauge, "mc_proxy_backend_up",
                           "1 while the backend gets connections: it is ready, and neither down "
                           "nor ejected.");
  MetricFamily active = family(MetricType::Gauge, "mc_proxy_backend_connections_active",
                               "Open connections that the backend was chosen for.");
  MetricFamily connections = family(MetricType::Counter, "mc_proxy_backend_connections_total",
                                    "Connections that the backend was chosen for.");
  MetricFamily failures = family(MetricType::Counter, "mc_proxy_backend_dial_failures_total",
                                 "Dials that could not connect to the backend.");
  MetricFamily bytes = family(MetricType::Counter, "mc_proxy_backend_bytes_total",
                              "Bytes of the backend's connections that ended: up is client to "
                              "backend.");
  MetricFamily weight = family(MetricType::Gauge, "mc_proxy_backend_weight",
                               "The weight in force: for a while after a return, slow_start makes "
                               "it less than configured.");
  MetricFamily state = family(MetricType::Gauge, "mc_proxy_backend_state",
                              "1 for the state that an operator has set, 0 for the others.");

  void add_backend(const policy::LivePool& pool, const policy::LiveBackend& backend, Instant now) {
    const Labels labels{{"pool", pool.spec().name}, {"backend", backend.spec.address.to_string()}};
    const policy::ConnectionCounts& counts = backend.state->counts;
    const bool is_up =
        backend.spec.state == policy::AdminState::kReady && backend.state->is_alive(now);
    add(up, is_up ? 1 : 0, labels);
    add(active, number(counts.active), labels);
    add(connections, number(counts.connections), labels);
    add(failures, number(counts.dial_failures), labels);
    add(bytes, number(counts.bytes_up), with(labels, "direction", "up"));
    add(bytes, number(counts.bytes_down), with(labels, "direction", "down"));
    add(weight, pool.weight_of(backend, now), labels);
    for (const auto& [word, value] : policy::kAdminStateWords) {
      add(state, backend.spec.state == value ? 1 : 0, with(labels, "state", word));
    }
  }
};

}  // namespace

std::vector<MetricFamily> collect_backends(const policy::LivePools& pools, Instant now,
                                           std::size_t most) {
  Backends backends;
  std::size_t count = 0;
  for (const auto& [name, pool] : pools) {
    for (const policy::LiveBackend& backend : pool->backends()) {
      if (count++ < most) backends.add_backend(*pool, backend, now);
    }
  }
  auto left_out = family(MetricType::Gauge, "mc_proxy_backends_without_metrics",
                         "Backends beyond the limit, which have no metrics of their own.");
  add(left_out, number(count - std::min(count, most)));
  std::vector<MetricFamily> families;
  families.push_back(std::move(left_out));
  for (auto* const made :
       {&backends.up, &backends.active, &backends.connections, &backends.failures, &backends.bytes,
        &backends.weight, &backends.state}) {
    if (!made->metric.empty()) families.push_back(std::move(*made));
  }
  return families;
}

}  // namespace mc::metrics
