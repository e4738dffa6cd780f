// SPDX-License-Identifier: Apache-2.0
#pragma once
// Resolves names of backends and keeps their addresses fresh, on a thread of its own, which alone
// waits for name servers. It reports answers and failures, and never that a name has no addresses:
// the last good answer is the caller's to keep. Knows nothing of pools.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "dns/answer.hpp"
#include "dns/channel.hpp"
#include "dns/names.hpp"
#include "dns/resolv_conf.hpp"
#include "dns/settings.hpp"

namespace mc::dns {

/// Any thread may call it.
class Resolver {
 public:
  /// The callbacks run on the resolver's thread and may be empty. They may call set_names() and
  /// status().
  struct Options {
    Settings settings;
    Log& log;  // outlives the resolver
    /// An answer that differs from the last one reported, and the first one after a failure.
    std::function<void(const std::string& name, const Answer& answer)> on_answer;
    /// The first failure at the start or after an answer, and one for another reason.
    std::function<void(const std::string& name, const Failure& failure)> on_failure;
  };

  /// Fails if resolv.conf is not readable or no descriptor is free. Name servers that are away are
  /// no reason.
  static Result<std::unique_ptr<Resolver>> start(Options options);
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  /// Drops the queries under way: a moment. No callback runs afterwards.
  ~Resolver();

  /// Resolves these names (lower case, without a trailing dot) from now on: new ones at once, those
  /// that stay as they are scheduled. Others are forgotten; a report of one that is just being made
  /// may still come. Returns at once.
  void set_names(const std::vector<std::string>& names);

  /// By name.
  [[nodiscard]] std::vector<Status> status() const;

  // For metrics. A query asks for all of a name's addresses.
  [[nodiscard]] std::uint64_t queries() const { return queries_; }
  /// Queries that ended with addresses, and without.
  [[nodiscard]] std::uint64_t answers() const { return answers_; }
  [[nodiscard]] std::uint64_t failures() const { return failures_; }

 private:
  Resolver(Options options, Fd wake, ResolvConf resolv_conf, std::unique_ptr<Channel> channel);

  void run();
  void follow_resolv_conf();
  void begin_due();
  void wait();
  [[nodiscard]] std::chrono::milliseconds longest_wait() const;
  void end(const Channel::Finished& finished);
  void report(const std::string& name, const News& news);
  void wake() const;

  const Options options_;
  const Fd wake_;  // an eventfd: readable when there are new names, or the thread is to end
  std::atomic<std::uint64_t> queries_ = 0, answers_ = 0, failures_ = 0;
  std::atomic<bool> is_ending_ = false;
  mutable std::mutex mutex_;
  Names names_;  // under mutex_
  // The thread's.
  ResolvConf resolv_conf_;
  std::unique_ptr<Channel> channel_;
  std::thread thread_;
};

}  // namespace mc::dns
