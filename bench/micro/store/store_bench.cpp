// SPDX-License-Identifier: Apache-2.0
// What it costs to keep 100,000 routes: one change among them, all of them in one change, and the
// start with them. A commit waits for the disk, so compare figures of one run on one disk only; set
// TMPDIR to choose it. Beside each commit stands what the disk alone takes: a plain write and
// fdatasync. Goals: 5 ms for one change, well under 1 s for 100,000, and for the start.

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "base/fd.hpp"
#include "store/store.hpp"

namespace mc::store {
namespace {

constexpr std::size_t kRoutes = 100'000;

class TempDir {
 public:
  TempDir() {
    std::string name = std::filesystem::temp_directory_path() / "mc-proxy-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }

  [[nodiscard]] std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// "app-17.customer-4711.example.com": four labels, some 30 bytes, as in hosted zones.
RouteRecord route(std::size_t i, std::size_t port) {
  return {":443",
          {"app-" + std::to_string(i % 100) + ".customer-" + std::to_string(i) + ".example.com",
           "10.0.0.1:" + std::to_string(port)}};
}

/// All routes, in an order that has nothing to do with that of their keys.
ChangeSet all_routes(std::size_t port) {
  ChangeSet changes;
  for (std::size_t i = 0; i < kRoutes; ++i) changes.put_routes.push_back(route(i, port));
  std::ranges::shuffle(changes.put_routes, std::mt19937_64(1));
  return changes;
}

AuditEntry entry() { return {.time = {}, .who = "bench", .action = "bench", .detail = ""}; }

void must_commit(benchmark::State& state, Store& store, const ChangeSet& changes) {
  const auto revision = store.commit(changes, entry());
  if (!revision) state.SkipWithError(revision.error().message.c_str());
}

std::unique_ptr<Store> filled(benchmark::State& state, const TempDir& dir) {
  auto store = Store::open(dir.file("mc-proxy.db"));
  if (!store) std::abort();
  must_commit(state, **store, all_routes(1));
  return *std::move(store);
}

void commit_one(benchmark::State& state) {
  const TempDir dir;
  const auto store = filled(state, dir);
  std::mt19937_64 random(2);
  for (auto _ : state) {
    ChangeSet changes;
    changes.put_routes.push_back(route(random() % (2 * kRoutes), 2));
    must_commit(state, *store, changes);
  }
}
BENCHMARK(commit_one)->Unit(benchmark::kMillisecond)->UseRealTime();

/// The floor under commit_one: 16 KiB written over, and synced.
void sync_alone(benchmark::State& state) {
  const TempDir dir;
  const Fd file(::open(dir.file("plain").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::string bytes(16 * 1024, 'x');
  for (auto _ : state) {
    if (::pwrite(file.get(), bytes.data(), bytes.size(), 0) < 0) std::abort();
    if (::fdatasync(file.get()) != 0) std::abort();
  }
}
BENCHMARK(sync_alone)->Unit(benchmark::kMillisecond)->UseRealTime();

void commit_100000_new(benchmark::State& state) {
  const ChangeSet changes = all_routes(1);
  for (auto _ : state) {
    state.PauseTiming();
    auto dir = std::make_unique<TempDir>();
    auto store = Store::open(dir->file("mc-proxy.db"));
    if (!store) std::abort();
    state.ResumeTiming();
    must_commit(state, **store, changes);
    state.PauseTiming();
    store->reset();
    dir.reset();
    state.ResumeTiming();
  }
}
BENCHMARK(commit_100000_new)->Unit(benchmark::kMillisecond)->UseRealTime();

void commit_100000_replaced(benchmark::State& state) {
  const TempDir dir;
  const auto store = filled(state, dir);
  const ChangeSet changes[] = {all_routes(2), all_routes(3)};
  std::size_t i = 0;
  for (auto _ : state) must_commit(state, *store, changes[i++ % 2]);
}
BENCHMARK(commit_100000_replaced)->Unit(benchmark::kMillisecond)->UseRealTime();

void open_100000(benchmark::State& state) {
  const TempDir dir;
  filled(state, dir).reset();
  for (auto _ : state) {
    auto store = Store::open(dir.file("mc-proxy.db"));
    if (!store) state.SkipWithError(store.error().message.c_str());
    benchmark::DoNotOptimize(store);
  }
}
BENCHMARK(open_100000)->Unit(benchmark::kMillisecond)->UseRealTime();

void load_100000(benchmark::State& state) {
  const TempDir dir;
  const auto store = filled(state, dir);
  for (auto _ : state) {
    const auto contents = store->load();
    if (!contents || contents->routes.size() != kRoutes) state.SkipWithError("wrong content");
  }
}
BENCHMARK(load_100000)->Unit(benchmark::kMillisecond)->UseRealTime();

void snapshot_100000(benchmark::State& state) {
  const TempDir dir;
  const auto store = filled(state, dir);
  for (auto _ : state) {
    const auto taken = store->snapshot(dir.file("copy.db"));
    if (!taken) state.SkipWithError(taken.error().message.c_str());
  }
}
BENCHMARK(snapshot_100000)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace mc::store

BENCHMARK_MAIN();
