// SPDX-License-Identifier: Apache-2.0
#pragma once
// Measures two ways to do the same, in turns within one benchmark, so that both meet the same
// machine. Reports medians over the turns: a turn in which another process had the processor counts
// as one among many.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace mc::bench {

template <class Work>
double seconds_of(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Use with UseManualTime(): the benchmark's own figure is the first way's, as a mean.
class Beside {
 public:
  /// `operations` are done in each turn, both ways.
  Beside(benchmark::State& state, std::size_t operations)
      : state_(state), operations_(static_cast<double>(operations)) {}

  /// One turn.
  void add(double seconds, double seconds_of_peer) {
    state_.SetIterationTime(seconds);
    seconds_.push_back(seconds);
    seconds_of_peer_.push_back(seconds_of_peer);
  }

  /// Counters: nanoseconds an operation takes either way, and "ratio", the first by the second.
  void report(const std::string& name, const std::string& peer) {
    const double own = median(std::move(seconds_));
    const double others = median(std::move(seconds_of_peer_));
    state_.counters[name + "_ns"] = own * 1e9 / operations_;
    state_.counters[peer + "_ns"] = others * 1e9 / operations_;
    state_.counters["ratio"] = own / others;
  }

 private:
  static double median(std::vector<double> values) {
    if (values.empty()) return 0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }

  benchmark::State& state_;
  double operations_;
  std::vector<double> seconds_;
  std::vector<double> seconds_of_peer_;
};

}  // namespace mc::bench
