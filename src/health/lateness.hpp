// SPDX-License-Identifier: Apache-2.0
#pragma once
// How late checks have started in the last seconds. One thread writes, any thread reads.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.hpp"
#include "health/limits.hpp"

namespace mc::health {

class Lateness {
 public:
  /// A check that was due has started `late` after that.
  void started(std::chrono::milliseconds late, Instant now) {
    std::atomic<std::uint64_t>& slot = slots_[second_of(now) % kSlots];
    const std::uint64_t seen = slot.load(std::memory_order_relaxed);
    const std::uint64_t before = seen >> kMsBits == second_of(now) ? seen & kMsMax : 0;
    const auto ms =
        std::clamp<std::uint64_t>(static_cast<std::uint64_t>(late.count()), before, kMsMax);
    slot.store(second_of(now) << kMsBits | ms, std::memory_order_relaxed);
  }

  /// The most of the last kLatenessShown.
  [[nodiscard]] std::chrono::milliseconds most(Instant now) const {
    std::uint64_t most = 0;
    for (const auto& slot : slots_) {
      const std::uint64_t seen = slot.load(std::memory_order_relaxed);
      if ((seen >> kMsBits) + kSlots > second_of(now)) most = std::max(most, seen & kMsMax);
    }
    return std::chrono::milliseconds(most);
  }

 private:
  // A slot holds a second of the clock, and the most milliseconds of that second.
  static constexpr int kMsBits = 32;
  static constexpr std::uint64_t kMsMax = (std::uint64_t{1} << kMsBits) - 1;
  static constexpr std::size_t kSlots = kLatenessShown.count();

  static std::uint64_t second_of(Instant instant) {
    return static_cast<std::uint64_t>(
        std::chrono::floor<std::chrono::seconds>(instant.time_since_epoch()).count());
  }

  std::array<std::atomic<std::uint64_t>, kSlots> slots_{};
};

}  // namespace mc::health
