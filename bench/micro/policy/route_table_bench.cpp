// SPDX-License-Identifier: Apache-2.0
// What a lookup costs among 100,000 routes, and what a change costs. Every lookup takes another
// name, so that the figures hold the cache misses that a busy proxy would see. Goals: 100 ns for a
// lookup, well under 1 ms for one change, well under 1 s for a batch of 100,000.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../beside.hpp"
#include "policy/route_table.hpp"

namespace mc::policy {
namespace {

constexpr std::size_t kRoutes = 100'000;
constexpr std::int64_t kFewNames = 1 << 10;
constexpr std::int64_t kManyNames = 1 << 16;

SocketAddress backend(std::size_t i) {
  return SocketAddress(IpAddress::v4(0x0a000000U + static_cast<std::uint32_t>(i)), 8443);
}

/// "app-17.customer-4711.example.com": four labels, some 30 bytes, as in hosted zones.
std::string host(std::size_t i) {
  return "app-" + std::to_string(i % 100) + ".customer-" + std::to_string(i) + ".example.com";
}

LiveRoute live_route(std::string_view pattern, BackendAddress backend) {
  return {.spec = {.pattern = HostPattern::parse(pattern).value(), .target = std::move(backend)}};
}

/// A tenth of the routes are wildcards; then the fallback.
RouteTable table() {
  std::vector<LiveRoute> routes;
  for (std::size_t i = 0; i + 1 < kRoutes; ++i) {
    const bool is_wildcard = i % 10 == 0;
    const std::string zone = "customer-" + std::to_string(i) + ".example.com";
    routes.push_back(live_route(is_wildcard ? "*." + zone : host(i), backend(i)));
  }
  routes.push_back(live_route("*", backend(kRoutes)));
  return RouteTable::build(std::move(routes));
}

/// Names for lookups: as many as the run asks for, made from random numbers below kRoutes.
template <class MakeName>
std::vector<std::string> names(const benchmark::State& state, MakeName make_name) {
  std::mt19937_64 random(1);
  std::vector<std::string> result;
  for (auto i = state.range(0); i > 0; --i) result.push_back(make_name(random() % kRoutes));
  return result;
}

void look_up(benchmark::State& state, const std::vector<std::string>& wanted,
             PatternKind expected) {
  static const RouteTable routes = table();
  std::size_t i = 0;
  for (auto _ : state) {
    const LiveRoute* match = routes.find({.name = wanted[i++ % wanted.size()]});
    if (match == nullptr || match->spec.pattern.kind() != expected)
      state.SkipWithError("wrong match");
    benchmark::DoNotOptimize(match);
  }
}

void exact(benchmark::State& state) {
  look_up(state, names(state, [](std::size_t i) { return host(i % 10 == 0 ? i + 1 : i); }),
          PatternKind::kExact);
}
BENCHMARK(exact)->ArgName("names")->Arg(kFewNames)->Arg(kManyNames);

struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const {
    return std::hash<std::string_view>()(name);
  }
};
using PlainMap = std::unordered_map<std::string, SocketAddress, NameHash, std::equal_to<>>;

/// The same lookups in the standard library's map, which has neither wildcards nor cheap copies.
void exact_beside_unordered_map(benchmark::State& state) {
  const RouteTable routes = table();
  PlainMap map;
  routes.for_each([&](const LiveRoute& route) {
    map.emplace(route.spec.pattern.text(), route.spec.backend()->address());
  });
  const auto wanted = names(state, [](std::size_t i) { return host(i % 10 == 0 ? i + 1 : i); });
  constexpr std::size_t kBatch = 512;
  const auto look_up_batch = [&](std::size_t first, auto&& look_up_one) {
    return bench::seconds_of([&] {
      for (std::size_t i = 0; i < kBatch; ++i) look_up_one(wanted[(first + i) % wanted.size()]);
    });
  };
  bench::Beside beside(state, kBatch);
  std::size_t next = 0;
  for (auto _ : state) {
    const double seconds = look_up_batch(next, [&](const std::string& name) {
      benchmark::DoNotOptimize(routes.find({.name = name}));
    });
    // Other names: those of the table are in the cache by now.
    const double seconds_of_map =
        look_up_batch(next + wanted.size() / 2, [&](const std::string& name) {
          benchmark::DoNotOptimize(map.find(std::string_view(name)));
        });
    beside.add(seconds, seconds_of_map);
    next += kBatch;
  }
  beside.report("table", "map");
}
BENCHMARK(exact_beside_unordered_map)
    ->ArgName("names")
    ->Arg(kFewNames)
    ->Arg(kManyNames)
    ->UseManualTime();

void wildcard(benchmark::State& state) {
  look_up(state, names(state, [](std::size_t i) { return host(i - i % 10); }),
          PatternKind::kWildcard);
}
BENCHMARK(wildcard)->ArgName("names")->Arg(kFewNames)->Arg(kManyNames);

/// The longest way: the name and each of its three suffixes miss.
void miss_to_fallback(benchmark::State& state) {
  look_up(state, names(state, [](std::size_t i) { return host(i + kRoutes); }),
          PatternKind::kFallback);
}
BENCHMARK(miss_to_fallback)->ArgName("names")->Arg(kFewNames)->Arg(kManyNames);

void change_one(benchmark::State& state) {
  RouteTable routes = table();
  std::size_t i = 0;
  for (auto _ : state) {
    routes = routes.with(live_route(host(kRoutes + i % 1000), backend(i)));
    ++i;
  }
}
BENCHMARK(change_one)->Unit(benchmark::kMicrosecond);

void change_100000_at_once(benchmark::State& state) {
  const RouteTable routes = table();
  for (auto _ : state) {
    RouteTable::Edit edit(routes);
    for (std::size_t i = 0; i < kRoutes; ++i) edit.put(live_route(host(i), backend(i + 1)));
    benchmark::DoNotOptimize(std::move(edit).finish());
  }
}
BENCHMARK(change_100000_at_once)->Unit(benchmark::kMillisecond);

void list_sorted(benchmark::State& state) {
  const RouteTable routes = table();
  for (auto _ : state) benchmark::DoNotOptimize(routes.sorted());
}
BENCHMARK(list_sorted)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mc::policy
