// SPDX-License-Identifier: Apache-2.0
#pragma once
// The figures of a checker, for metrics. Its thread writes, any thread reads.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "health/lateness.hpp"

namespace mc::health {

struct Figures {
  std::atomic<std::size_t> targets{0};
  std::atomic<std::uint64_t> passed{0};
  std::atomic<std::uint64_t> failed{0};
  Lateness lateness;
};

}  // namespace mc::health
