// SPDX-License-Identifier: Apache-2.0
// What a worker pays per turn of its loop for the current policy, and what a publication costs the
// control plane. Goals: nanoseconds for the worker; the rest does not matter.

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "policy/published.hpp"

namespace mc::policy {
namespace {

using PublishedNumber = Published<std::uint64_t>;

std::unique_ptr<PublishedNumber> published(std::size_t readers) {
  return std::make_unique<PublishedNumber>(std::make_unique<std::uint64_t>(1), readers);
}

/// A worker under load, which never sleeps.
void turn_without_sleep(benchmark::State& state) {
  const auto numbers = published(1);
  auto& reader = numbers->reader(0);
  for (auto _ : state) {
    reader.online();
    benchmark::DoNotOptimize(reader.get());
  }
  reader.offline();
}
BENCHMARK(turn_without_sleep);

/// The peer: what the standard library offers for the same.
void turn_with_atomic_shared_ptr(benchmark::State& state) {
  const std::atomic<std::shared_ptr<const std::uint64_t>> number(
      std::make_shared<const std::uint64_t>(1));
  for (auto _ : state) {
    const auto current = number.load(std::memory_order_acquire);
    benchmark::DoNotOptimize(*current);
  }
}
BENCHMARK(turn_with_atomic_shared_ptr);

/// A worker that sleeps, or may, between any two turns.
void turn_with_sleep(benchmark::State& state) {
  const auto numbers = published(1);
  auto& reader = numbers->reader(0);
  for (auto _ : state) {
    reader.online();
    benchmark::DoNotOptimize(reader.get());
    reader.offline();
  }
}
BENCHMARK(turn_with_sleep);

/// The same on several threads at once: they must not get in each other's way.
std::unique_ptr<PublishedNumber> shared;  // made before the threads start
void turns_of_threads(benchmark::State& state) {
  auto& reader = shared->reader(static_cast<std::size_t>(state.thread_index()));
  for (auto _ : state) {
    reader.online();
    benchmark::DoNotOptimize(reader.get());
    reader.offline();
  }
}
BENCHMARK(turns_of_threads)
    ->Setup([](const benchmark::State& state) {
      shared = published(static_cast<std::size_t>(state.threads()));
    })
    ->Teardown([](const benchmark::State&) { shared.reset(); })
    ->Threads(2)
    ->UseRealTime();

void publish_to_sleepers(benchmark::State& state) {
  const auto numbers = published(64);
  std::uint64_t number = 1;
  for (auto _ : state) numbers->publish(std::make_unique<std::uint64_t>(++number));
}
BENCHMARK(publish_to_sleepers);

/// With one worker that is always online, in the time that passes until it has moved on.
void publish_to_a_busy_reader(benchmark::State& state) {
  const auto numbers = published(1);
  std::atomic<bool> is_over = false;
  std::thread worker([&] {
    auto& reader = numbers->reader(0);
    while (!is_over.load(std::memory_order_relaxed)) reader.online();
    reader.offline();
  });
  std::uint64_t number = 1;
  for (auto _ : state) numbers->publish(std::make_unique<std::uint64_t>(++number));
  is_over = true;
  worker.join();
}
BENCHMARK(publish_to_a_busy_reader)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace mc::policy
