// SPDX-License-Identifier: Apache-2.0
#pragma once
// Checks the backends of pools: one thread with a small ring of its own, so that neither the
// control plane's waits delay checks, nor checks the workers. It writes the health in BackendState,
// which workers read when they choose; it publishes no policy.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/log.hpp"
#include "base/result.hpp"
#include "health/change.hpp"
#include "health/figures.hpp"
#include "policy/live_pool.hpp"
#include "ring/loop.hpp"
#include "ring/setup_error.hpp"

namespace mc::health {

/// Any thread may call it.
class Checker {
 public:
  struct Options {
    Log& log;            // outlives the checker
    OnChange on_change;  // may be empty
  };

  /// Makes the ring, so before a seccomp filter refuses rings. Checks nothing before set_pools().
  static Result<std::unique_ptr<Checker>> start(Options options);
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;
  /// Stops, and waits until no check is under way: a moment.
  ~Checker();

  /// Checks the backends of these pools (not null) from now on. Returns at once.
  void set_pools(std::shared_ptr<const policy::LivePools> pools);
  /// Checks nothing any more; every backend keeps its health. Returns at once.
  void stop();

  // For metrics.
  /// Distinct targets.
  [[nodiscard]] std::size_t targets() const { return figures_.targets; }
  /// Checks with that result. One that this process could not make is neither.
  [[nodiscard]] std::uint64_t passed() const { return figures_.passed; }
  [[nodiscard]] std::uint64_t failed() const { return figures_.failed; }
  /// How late the latest check of the last 10 s started.
  [[nodiscard]] std::chrono::milliseconds lateness() const {
    return figures_.lateness.most(Clock::now());
  }

 private:
  struct Mail {
    std::shared_ptr<const policy::LivePools> pools;  // null: none
    bool stop = false;
  };

  explicit Checker(Options options) : options_(std::move(options)) {}

  void work(std::promise<std::optional<ring::SetupError>> ready);
  void run(ring::Loop& loop);
  Mail take_mail();

  Options options_;
  Figures figures_;
  std::mutex mailbox_;
  Mail mail_;                   // under mailbox_
  ring::Loop* loop_ = nullptr;  // under mailbox_: the thread's, while it runs
  std::thread thread_;
};

}  // namespace mc::health
