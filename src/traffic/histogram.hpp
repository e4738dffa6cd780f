// SPDX-License-Identifier: Apache-2.0
#pragma once
// How values are distributed, as counts of fixed buckets. Each histogram has one writer, its
// worker, and costs it two additions for a value; anyone may read at any time and adds up those of
// all workers.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "traffic/counter.hpp"

namespace mc::traffic {

/// Upper bounds of buckets, each included, ascending; what is larger is in one more bucket.
template <std::size_t N>
using Buckets = std::array<std::uint64_t, N>;

// A hello or a dial, in milliseconds. A neighbour replies within one, another continent in some
// 300, a lost SYN costs 1 s, then 3 s; the last is the default of hello_timeout.
inline constexpr Buckets<13> kWaitBucketsMs{1,   2,   5,    10,   25,   50,    100,
                                            250, 500, 1000, 2500, 5000, 10'000};

// A connection from accept to its end, in milliseconds: requests end within seconds, the default
// idle_timeout is 5 minutes, WebSockets and tunnels stay for hours.
inline constexpr Buckets<12> kSessionBucketsMs{100,     500,      1000,       5000,
                                               10'000,  30'000,   60'000,     300'000,
                                               900'000, 3600'000, 14'400'000, 86'400'000};

// Bytes of a connection in one direction: a handshake has some 1 to 5 KiB, a page MiB, a download
// GiB. Factors of four, since powers of ten cut between those.
inline constexpr Buckets<12> kByteBuckets{1ULL << 10, 1ULL << 12, 1ULL << 14, 1ULL << 16,
                                          1ULL << 18, 1ULL << 20, 1ULL << 22, 1ULL << 24,
                                          1ULL << 26, 1ULL << 28, 1ULL << 30, 1ULL << 32};

/// What histograms with the same buckets add up to, at one moment.
struct HistogramTotals {
  std::span<const std::uint64_t> bounds;  // static
  std::vector<std::uint64_t> counts;      // by bucket, not cumulative; one more than bounds
  std::uint64_t sum = 0;                  // of all values
};

template <const auto& kBounds>
class Histogram {
 public:
  void observe(std::chrono::milliseconds span) {
    observe(static_cast<std::uint64_t>(span.count()));
  }
  void observe(std::uint64_t value) {
    const auto bucket = std::ranges::lower_bound(kBounds, value) - kBounds.begin();
    counts_[static_cast<std::size_t>(bucket)].add();
    sum_.add(value);
  }

  /// Adds this one's counts to `totals`, which are empty or of the same buckets.
  void add_to(HistogramTotals& totals) const {
    totals.bounds = kBounds;
    totals.counts.resize(counts_.size());
    for (std::size_t i = 0; i < counts_.size(); ++i) totals.counts[i] += counts_[i].value();
    totals.sum += sum_.value();
  }

 private:
  std::array<Counter, kBounds.size() + 1> counts_;
  Counter sum_;
};

}  // namespace mc::traffic
