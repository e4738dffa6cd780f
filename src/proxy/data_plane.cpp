// SPDX-License-Identifier: Apache-2.0
#include "proxy/data_plane.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include "base/assert.hpp"
#include "net/sockets.hpp"
#include "proxy/limits.hpp"
#include "ring/setup_error.hpp"

namespace mc::proxy {

// What a worker uses and what other threads see of it, before, while and after it runs.
struct DataPlane::WorkerSlot {
  WorkerSlot(std::size_t slot_index, int slot_cpu, std::size_t listeners)
      : index(slot_index), cpu(slot_cpu), counters(listeners) {}

  std::size_t index;
  int cpu;
  traffic::Counters counters;
  WorkerStatus status;
  std::uint64_t turns_seen = 0;  // by all_workers_progressed()
  std::vector<ListeningSocket> sockets;
  std::mutex worker_life;          // held to make or end the worker, and to call it from outside
  std::unique_ptr<Worker> worker;  // lives on the thread: a ring belongs to the thread that made it
  std::promise<std::optional<ring::SetupError>> ready;
  std::thread thread;
};

namespace {

void pin_to(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  static_cast<void>(::pthread_setaffinity_np(::pthread_self(), sizeof cpus, &cpus));
}

}  // namespace

Result<std::unique_ptr<DataPlane>> DataPlane::start(DataPlaneOptions options,
                                                    policy::PublishedPolicy& policy, Log& log) {
  std::unique_ptr<DataPlane> plane(new DataPlane(std::move(options), policy, log));
  if (const auto listening = plane->listen(); !listening.has_value()) {
    return std::unexpected(listening.error());
  }
  if (const auto sloted = plane->start_workers(); !sloted.has_value()) {
    return std::unexpected(sloted.error());
  }
  return plane;
}

DataPlane::DataPlane(DataPlaneOptions options, policy::PublishedPolicy& policy, Log& log)
    : options_(std::move(options)),
      log_(log),
      policy_(policy),
      connections_(options_.addresses.size()),
      ended_fd_(::eventfd(0, EFD_CLOEXEC)) {
  for (std::size_t i = 0; i < options_.cpus.size(); ++i) {
    slots_.push_back(std::make_unique<WorkerSlot>(i, options_.cpus[i], options_.addresses.size()));
  }
}

Result<void> DataPlane::listen() {
  options_.inherited.resize(options_.addresses.size());
  for (std::size_t i = 0; i < options_.addresses.size(); ++i) {
    const std::string& name = options_.settings.listener_names[i];
    const net::ListenAddress where{.address = options_.addresses[i], .name = name};
    auto inherited = std::move(options_.inherited[i]);
    auto sockets = inherited.empty()
                       ? net::open_listeners(where, slots_.size())
                       : net::adopt_listeners(std::move(inherited), where, slots_.size());
    if (!sockets.has_value()) return std::unexpected(sockets.error());
    options_.settings.listener_addresses.push_back(net::bound_address(sockets->front().get()));
    for (std::size_t s = 0; s < sockets->size(); ++s) {
      Fd ours(::fcntl((*sockets)[s].get(), F_DUPFD_CLOEXEC, 0));
      if (!ours) return fail(fmt::format("listen {}: {}", name, std::strerror(errno)));
      sockets_.push_back({i, std::move(ours)});
      slots_[s % slots_.size()]->sockets.push_back({i, std::move((*sockets)[s])});
    }
  }
  return {};
}

Result<void> DataPlane::start_workers() {
  if (!ended_fd_) return fail(fmt::format("eventfd: {}", std::strerror(errno)));
  running_.store(slots_.size());
  for (const auto& slot : slots_) slot->thread = std::thread([this, &slot] { work(*slot); });
  std::optional<ring::SetupError> failure;
  for (const auto& slot : slots_) {
    if (const auto error = slot->ready.get_future().get(); error.has_value()) failure = error;
  }
  if (!failure.has_value()) return {};
  return std::unexpected(ring::explain(*failure, ring::HostProbe::probe()));
}

void DataPlane::work(WorkerSlot& slot) {
  static_cast<void>(
      ::pthread_setname_np(::pthread_self(), fmt::format("ring/{}", slot.index).c_str()));
  if (options_.pin_workers) pin_to(slot.cpu);
  auto worker = Worker::create(WorkerParts{.index = static_cast<std::uint32_t>(slot.index),
                                           .settings = options_.settings,
                                           .policy = policy_.reader(slot.index),
                                           .counters = slot.counters,
                                           .status = slot.status,
                                           .connections = connections_,
                                           .events = events_,
                                           .log = log_,
                                           .log_lines_max = traffic::line_share(slots_.size())},
                               std::move(slot.sockets));
  if (worker.has_value()) {
    {
      const std::lock_guard lock(slot.worker_life);
      slot.worker = std::move(*worker);
    }
    slot.ready.set_value(std::nullopt);
    slot.worker->run();
    const std::lock_guard lock(slot.worker_life);
    slot.worker.reset();
    slot.status.not_accepting = true;  // ends the wait in suspend()
    slot.status.not_accepting.notify_all();
  } else {
    slot.ready.set_value(worker.error());
  }
  if (running_.fetch_sub(1) == 1) {
    const std::uint64_t one = 1;
    static_cast<void>(::write(ended_fd_.get(), &one, sizeof one));
  }
}

void DataPlane::open() {
  open_.store(true, std::memory_order_relaxed);
  command_accepting(Worker::Accepting::kYes);
}

void DataPlane::suspend() {
  if (!open_.exchange(false)) return;
  for (const auto& slot : slots_) slot->status.not_accepting.store(false);
  command_accepting(Worker::Accepting::kNo);
  for (const auto& slot : slots_) slot->status.not_accepting.wait(false);
}

void DataPlane::command_accepting(Worker::Accepting wanted) {
  for (const auto& slot : slots_) {
    const std::lock_guard lock(slot->worker_life);
    if (slot->worker != nullptr) {
      slot->worker->accept(wanted);
    } else {
      slot->status.not_accepting = true;
    }
  }
}

bool DataPlane::all_workers_progressed() {
  bool all = true;
  for (const auto& slot : slots_) {
    const std::lock_guard lock(slot->worker_life);
    if (slot->worker == nullptr) continue;
    const std::uint64_t turns = slot->status.turns.value();
    all = all && turns != slot->turns_seen;
    slot->turns_seen = turns;
    slot->worker->wake();
  }
  return all;
}

// ---- sweeps

// One sweep for each live worker; the sweep of a dead one ends as soon as it is made.
void DataPlane::submit_to_all(const std::function<std::unique_ptr<Sweep>()>& make) {
  for (const auto& slot : slots_) {
    auto sweep = make();
    const auto taken = [&slot, &sweep] {
      const std::lock_guard lock(slot->worker_life);
      return slot->worker == nullptr || slot->worker->submit(sweep);
    };
    while (!taken()) std::this_thread::sleep_for(kSweepRetry);
  }
}

void DataPlane::cut(const std::shared_ptr<const policy::Firewall>& firewall) {
  MC_ASSERT(firewall, "a cut needs a firewall to go by");
  submit_to_all([&firewall] { return std::make_unique<CutSweep>(firewall); });
}

void DataPlane::cut(const std::shared_ptr<const policy::BackendState>& backend) {
  MC_ASSERT(backend, "a cut needs a backend to go by");
  submit_to_all([&backend] { return std::make_unique<BackendDownSweep>(backend); });
}

std::shared_ptr<SweepResults> DataPlane::submit(const traffic::ConnectionFilter& filter,
                                                SweepAction action) {
  auto results = std::make_shared<SweepResults>(filter);
  submit_to_all([&] { return std::make_unique<FilterSweep>(results, action); });
  return results;
}

void DataPlane::wake_workers() {
  for (const auto& slot : slots_) {
    const std::lock_guard lock(slot->worker_life);
    if (slot->worker != nullptr) slot->worker->wake();
  }
}

void DataPlane::list(const traffic::ConnectionFilter& filter,
                     const std::function<bool(std::span<const traffic::Connection>)>& take) {
  const auto results = submit(filter, SweepAction::kList);
  for (;;) {
    const SweepResults::Taken taken = results->take();
    if (taken.wanted) wake_workers();
    if (!take(taken.rows)) break;
    if (taken.over) return;
  }
  results->give_up();
  wake_workers();
}

std::uint64_t DataPlane::finish(SweepResults& results, const Wanted& wanted) {
  do {
    if (!wanted()) results.give_up();
  } while (!results.take().over);
  return results.count();
}

std::uint64_t DataPlane::close(const traffic::ConnectionFilter& filter, const Wanted& wanted) {
  return finish(*submit(filter, SweepAction::kClose), wanted);
}

std::uint64_t DataPlane::count(const traffic::ConnectionFilter& filter, const Wanted& wanted) {
  return finish(*submit(filter, SweepAction::kCount), wanted);
}

// ---- all workers

bool DataPlane::accepting() const {
  if (!open_.load(std::memory_order_relaxed)) return false;
  if (running_.load(std::memory_order_relaxed) != slots_.size()) return false;
  return std::ranges::all_of(
      slots_, [](const auto& slot) { return slot->counters.listeners_paused.value() == 0; });
}

void DataPlane::drain(std::chrono::milliseconds grace) {
  open_.store(false, std::memory_order_relaxed);
  sockets_.clear();
  const Instant deadline = Clock::now() + grace;
  for (const auto& slot : slots_) {
    const std::lock_guard lock(slot->worker_life);
    if (slot->worker != nullptr) slot->worker->drain(deadline);
  }
}

DataPlane::~DataPlane() {
  drain(std::chrono::milliseconds(0));
  for (const auto& slot : slots_) {
    if (slot->thread.joinable()) slot->thread.join();
  }
}

traffic::Totals DataPlane::totals() const {
  traffic::Totals totals;
  for (const auto& slot : slots_) totals.add(slot->counters);
  return totals;
}

}  // namespace mc::proxy
