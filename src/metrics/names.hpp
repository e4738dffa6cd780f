// SPDX-License-Identifier: Apache-2.0
#pragma once
// The metrics of names of backends that DNS resolves. Pure; any thread.

#include <prometheus/metric_family.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mc::metrics {

/// What the server hands in, so that this room needs no resolver.
struct NameTotals {
  struct Name {
    std::string name;
    bool is_failing = false;
    std::optional<std::chrono::milliseconds> answer_age;  // nothing: none since the start
  };

  std::uint64_t answered = 0;  // queries
  std::uint64_t failed = 0;
  std::vector<Name> names;
};

/// The first `most` names have series of their own.
std::vector<prometheus::MetricFamily> collect_names(const NameTotals& totals, std::size_t most);

}  // namespace mc::metrics
