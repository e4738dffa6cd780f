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
#include "proxy/limits.hpp"
#include "proxy/sockets.hpp"
#include "ring/setup_error.hpp"

namespace mc::proxy {

// A worker's place: what it uses and what others see of it, before, while and after it runs.
struct DataPlane::Seat {
  Seat(std::size_t seat_index, int seat_cpu, std::size_t listeners)
      : index(seat_index), cpu(seat_cpu), counters(listeners) {}

  std::size_t index;
  int cpu;
  Counters counters;
  WorkerSigns signs;
  std::uint64_t turns_seen = 0;  // by turning()
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

void add(const ListenerCounters& counters, ListenerTotals& totals) {
  totals.active += counters.active.value();
  totals.accepted += counters.accepted.value();
  totals.bytes_up += counters.bytes_up.value();
  totals.bytes_down += counters.bytes_down.value();
  for (std::size_t i = 0; i < kReasons; ++i) totals.ended[i] += counters.ended[i].value();
  counters.hello_ms.add_to(totals.hello_ms);
  counters.dial_ms.add_to(totals.dial_ms);
  counters.session_ms.add_to(totals.session_ms);
  counters.session_bytes_up.add_to(totals.session_bytes_up);
  counters.session_bytes_down.add_to(totals.session_bytes_down);
}

}  // namespace

Result<std::unique_ptr<DataPlane>> DataPlane::start(DataPlaneOptions options,
                                                    std::unique_ptr<const policy::Policy> policy,
                                                    Log& log) {
  std::unique_ptr<DataPlane> plane(new DataPlane(std::move(options), std::move(policy), log));
  if (const auto listening = plane->listen(); !listening.has_value()) {
    return std::unexpected(listening.error());
  }
  if (const auto seated = plane->seat_workers(); !seated.has_value()) {
    return std::unexpected(seated.error());
  }
  return plane;
}

DataPlane::DataPlane(DataPlaneOptions options, std::unique_ptr<const policy::Policy> policy,
                     Log& log)
    : options_(std::move(options)),
      log_(log),
      published_(std::move(policy), options_.cpus.size()),
      ended_fd_(::eventfd(0, EFD_CLOEXEC)) {
  for (std::size_t i = 0; i < options_.cpus.size(); ++i) {
    seats_.push_back(std::make_unique<Seat>(i, options_.cpus[i], options_.addresses.size()));
  }
}

Result<void> DataPlane::listen() {
  options_.inherited.resize(options_.addresses.size());
  for (std::size_t i = 0; i < options_.addresses.size(); ++i) {
    const std::string& name = options_.settings.listener_names[i];
    const ListenAddress where{.address = options_.addresses[i], .name = name};
    auto inherited = std::move(options_.inherited[i]);
    auto sockets = inherited.empty() ? open_listeners(where, seats_.size())
                                     : adopt_listeners(std::move(inherited), where, seats_.size());
    if (!sockets.has_value()) return std::unexpected(sockets.error());
    options_.settings.listener_addresses.push_back(bound_address(sockets->front().get()));
    for (std::size_t s = 0; s < sockets->size(); ++s) {
      Fd ours(::fcntl((*sockets)[s].get(), F_DUPFD_CLOEXEC, 0));
      if (!ours) return fail(fmt::format("listen {}: {}", name, std::strerror(errno)));
      sockets_.push_back({i, std::move(ours)});
      seats_[s % seats_.size()]->sockets.push_back({i, std::move((*sockets)[s])});
    }
  }
  return {};
}

Result<void> DataPlane::seat_workers() {
  if (!ended_fd_) return fail(fmt::format("eventfd: {}", std::strerror(errno)));
  running_.store(seats_.size());
  for (const auto& seat : seats_) seat->thread = std::thread([this, &seat] { work(*seat); });
  std::optional<ring::SetupError> failure;
  for (const auto& seat : seats_) {
    if (const auto error = seat->ready.get_future().get(); error.has_value()) failure = error;
  }
  if (!failure.has_value()) return {};
  return std::unexpected(ring::explain(*failure, ring::Machine::probe()));
}

void DataPlane::work(Seat& seat) {
  static_cast<void>(
      ::pthread_setname_np(::pthread_self(), fmt::format("ring/{}", seat.index).c_str()));
  if (options_.pin_workers) pin_to(seat.cpu);
  auto worker =
      Worker::create(WorkerParts{static_cast<std::uint32_t>(seat.index), options_.settings,
                                 published_.reader(seat.index), seat.counters, seat.signs,
                                 connections_, events_, log_, line_share(seats_.size())},
                     std::move(seat.sockets));
  if (worker.has_value()) {
    {
      const std::lock_guard lock(seat.worker_life);
      seat.worker = std::move(*worker);
    }
    seat.ready.set_value(std::nullopt);
    seat.worker->run();
    const std::lock_guard lock(seat.worker_life);
    seat.worker.reset();
    seat.signs.quiet = true;  // whoever waits for that need not wait for ever
    seat.signs.quiet.notify_all();
  } else {
    seat.ready.set_value(worker.error());
  }
  if (running_.fetch_sub(1) == 1) {
    const std::uint64_t one = 1;
    static_cast<void>(::write(ended_fd_.get(), &one, sizeof one));
  }
}

void DataPlane::open() {
  open_.store(true, std::memory_order_relaxed);
  order_accepting(Worker::Accepting::kYes);
}

void DataPlane::suspend() {
  if (!open_.exchange(false)) return;
  for (const auto& seat : seats_) seat->signs.quiet.store(false);
  order_accepting(Worker::Accepting::kNo);
  for (const auto& seat : seats_) seat->signs.quiet.wait(false);
}

void DataPlane::order_accepting(Worker::Accepting wanted) {
  for (const auto& seat : seats_) {
    const std::lock_guard lock(seat->worker_life);
    if (seat->worker != nullptr) {
      seat->worker->accept(wanted);
    } else {
      seat->signs.quiet = true;
    }
  }
}

bool DataPlane::turning() {
  bool all = true;
  for (const auto& seat : seats_) {
    const std::lock_guard lock(seat->worker_life);
    if (seat->worker == nullptr) continue;
    const std::uint64_t turns = seat->signs.turns.value();
    all = all && turns != seat->turns_seen;
    seat->turns_seen = turns;
    seat->worker->wake();
  }
  return all;
}

// ---- orders

// One for each worker that lives; where one does not, its order ends as soon as it is made.
void DataPlane::order(const std::function<std::unique_ptr<SessionOrder>()>& make) {
  for (const auto& seat : seats_) {
    auto order = make();
    const auto taken = [&seat, &order] {
      const std::lock_guard lock(seat->worker_life);
      return seat->worker == nullptr || seat->worker->order(order);
    };
    while (!taken()) std::this_thread::sleep_for(kOrderRetry);
  }
}

void DataPlane::cut(const std::shared_ptr<const policy::Firewall>& whom) {
  MC_ASSERT(whom, "a cut needs a firewall to go by");
  order([&whom] { return std::make_unique<CutOrder>(whom); });
}

std::shared_ptr<Findings> DataPlane::treat(const ConnectionFilter& filter, Treatment treatment) {
  auto findings = std::make_shared<Findings>(filter);
  order([&] { return std::make_unique<FilterOrder>(findings, treatment); });
  return findings;
}

void DataPlane::wake_workers() {
  for (const auto& seat : seats_) {
    const std::lock_guard lock(seat->worker_life);
    if (seat->worker != nullptr) seat->worker->wake();
  }
}

void DataPlane::list(const ConnectionFilter& filter,
                     const std::function<bool(std::span<const Connection>)>& take) {
  const auto findings = treat(filter, Treatment::kList);
  for (;;) {
    const Findings::Taken taken = findings->take();
    if (taken.wanted) wake_workers();
    if (!take(taken.rows)) break;
    if (taken.over) return;
  }
  findings->give_up();
  wake_workers();
}

std::uint64_t DataPlane::finish(Findings& findings, const Wanted& wanted) {
  do {
    if (!wanted()) findings.give_up();
  } while (!findings.take().over);
  return findings.count();
}

std::uint64_t DataPlane::close(const ConnectionFilter& filter, const Wanted& wanted) {
  return finish(*treat(filter, Treatment::kClose), wanted);
}

std::uint64_t DataPlane::count(const ConnectionFilter& filter, const Wanted& wanted) {
  return finish(*treat(filter, Treatment::kCount), wanted);
}

// ---- all workers

bool DataPlane::accepting() const {
  if (!open_.load(std::memory_order_relaxed)) return false;
  if (running_.load(std::memory_order_relaxed) != seats_.size()) return false;
  return std::ranges::all_of(
      seats_, [](const auto& seat) { return seat->counters.listeners_paused.value() == 0; });
}

void DataPlane::drain(std::chrono::milliseconds grace) {
  open_.store(false, std::memory_order_relaxed);
  sockets_.clear();
  const Instant deadline = Clock::now() + grace;
  for (const auto& seat : seats_) {
    const std::lock_guard lock(seat->worker_life);
    if (seat->worker != nullptr) seat->worker->drain(deadline);
  }
}

DataPlane::~DataPlane() {
  drain(std::chrono::milliseconds(0));
  for (const auto& seat : seats_) {
    if (seat->thread.joinable()) seat->thread.join();
  }
}

Totals DataPlane::totals() const {
  Totals totals;
  totals.listeners.resize(options_.addresses.size());
  for (const auto& seat : seats_) {
    const Counters& counters = seat->counters;
    for (std::size_t i = 0; i < totals.listeners.size(); ++i) {
      add(counters.per_listener[i], totals.listeners[i]);
    }
    totals.pipes_exhausted += counters.pipes_exhausted.value();
    totals.accept_paused += counters.accept_paused.value();
    totals.listeners_paused += counters.listeners_paused.value();
    totals.lines_suppressed += counters.lines_suppressed.value();
  }
  for (const ListenerTotals& listener : totals.listeners) {
    totals.active += listener.active;
    totals.accepted += listener.accepted;
    totals.bytes_up += listener.bytes_up;
    totals.bytes_down += listener.bytes_down;
    for (std::size_t i = 0; i < kReasons; ++i) totals.ended[i] += listener.ended[i];
  }
  return totals;
}

}  // namespace mc::proxy
