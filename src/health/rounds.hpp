// SPDX-License-Identifier: Apache-2.0
#pragma once
// The checks of all targets in time: when each is due, which are under way, and what their results
// mean for the backends that have the target. Owned by the checker's thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.hpp"
#include "base/mix.hpp"
#include "health/change.hpp"
#include "health/figures.hpp"
#include "health/plan.hpp"
#include "health/probe.hpp"
#include "health/standing.hpp"
#include "ring/loop.hpp"
#include "ring/task.hpp"

namespace mc::health {

class Rounds {
 public:
  /// The references outlive it.
  Rounds(ring::Loop& loop, Log& log, const OnChange& on_change, Figures& figures);
  Rounds(const Rounds&) = delete;
  Rounds& operator=(const Rounds&) = delete;
  /// No check may be under way.
  ~Rounds();

  /// Checks these from now on. Targets that stay keep their times, backends their counts; backends
  /// that are no longer checked become unchecked.
  void set_pools(std::shared_ptr<const policy::LivePools> pools);
  /// Starts the checks that are due, as many as may be under way. In every turn of the loop.
  void start_due();
  /// Starts no more, and ends those under way soon, without results.
  void stop();
  [[nodiscard]] bool is_any_under_way() const { return under_way_ > 0; }

 private:
  class Round;
  struct Judged;
  using RoundsByKey = std::unordered_map<std::string, std::shared_ptr<Round>>;
  using JudgedByState = std::unordered_map<const policy::BackendState*, Judged>;

  JudgedByState take_judged();
  static Judged judged(const Member& member, JudgedByState& before);
  void warn_of(std::size_t left_out);

  ring::Detached check(std::shared_ptr<Round> round);
  void finish(Round& round, const Outcome& outcome, std::chrono::milliseconds took);
  void judge(Judged& judged, const Outcome& outcome);
  void announce(const Change& change);
  void schedule_first(Round& round);
  void schedule_next(Round& round, const Outcome& outcome);
  [[nodiscard]] std::chrono::milliseconds random_below(std::chrono::milliseconds end);

  ring::Loop& loop_;
  Log& log_;
  const OnChange& on_change_;
  Figures& figures_;
  Random random_;
  std::shared_ptr<const policy::LivePools> pools_;
  RoundsByKey rounds_;
  std::deque<std::shared_ptr<Round>> due_;
  std::size_t under_way_ = 0;
  bool stopping_ = false;
  bool has_warned_ = false;  // that some are left out
};

}  // namespace mc::health
