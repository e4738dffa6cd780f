// SPDX-License-Identifier: Apache-2.0
// What a choice of a backend costs a connection: for each policy, in pools of 1 to 1,000 backends,
// with equal weights and with different ones.

#include <benchmark/benchmark.h>

#include "base/mix.hpp"
#include "policy/choose.hpp"
#include "unit/policy/pools.hpp"

namespace {

using namespace mc;
using namespace mc::policy;

void choose_of(benchmark::State& state, Balance balance, bool has_equal_weights) {
  PoolSettings settings;
  settings.balance = balance;
  Pool pool = pool_of_size(static_cast<std::size_t>(state.range(0)), settings);
  if (!has_equal_weights) {
    for (std::size_t i = 0; i < pool.backends.size(); ++i) {
      pool.backends[i].weight = static_cast<std::int64_t>(i % 9 + 1);
    }
  }
  const LivePool pools = live(pool);
  Random random(1);
  const Instant now = Instant() + std::chrono::hours(1);
  for (auto _ : state) {
    const std::uint64_t bits = random.next();
    benchmark::DoNotOptimize(
        choose(pools, {.client = IpAddress::v4(static_cast<std::uint32_t>(bits)),
                       .name = "app.example.com",
                       .turn = pools.next_turn(),
                       .random = bits,
                       .now = now,
                       .tried = {}}));
  }
}

void sizes(benchmark::internal::Benchmark* bench) { bench->Arg(1)->Arg(10)->Arg(1000); }

BENCHMARK_CAPTURE(choose_of, random_two, Balance::kRandomTwo, true)->Apply(sizes);
BENCHMARK_CAPTURE(choose_of, random_two_weighted, Balance::kRandomTwo, false)->Apply(sizes);
BENCHMARK_CAPTURE(choose_of, round_robin, Balance::kRoundRobin, true)->Apply(sizes);
BENCHMARK_CAPTURE(choose_of, round_robin_weighted, Balance::kRoundRobin, false)->Apply(sizes);
BENCHMARK_CAPTURE(choose_of, least_connections, Balance::kLeastConnections, true)->Apply(sizes);
BENCHMARK_CAPTURE(choose_of, hash_source, Balance::kHashSource, true)->Apply(sizes);
BENCHMARK_CAPTURE(choose_of, hash_source_weighted, Balance::kHashSource, false)->Apply(sizes);
BENCHMARK_CAPTURE(choose_of, hash_name, Balance::kHashName, true)->Apply(sizes);

}  // namespace
