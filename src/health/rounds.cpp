// SPDX-License-Identifier: Apache-2.0
#include "health/rounds.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include "base/assert.hpp"
#include "health/limits.hpp"

namespace mc::health {

using std::chrono::milliseconds;

// A backend, and what the checks so far have shown.
struct Rounds::Judged {
  Member member;
  Standing standing;
  std::string why;              // as it was set last
  bool alert_reported = false;  // that it refuses the hello
};

// The checks of one target, one after another.
class Rounds::Round final : public ring::Timer, public std::enable_shared_from_this<Round> {
 public:
  Round(Rounds& rounds, Target target) : rounds_(rounds), target_(std::move(target)) {}

  [[nodiscard]] const Target& target() const { return target_; }
  [[nodiscard]] milliseconds interval() const {
    milliseconds least = milliseconds::max();
    for (const Judged& one : backends) least = std::min(least, one.member.check().interval);
    return least;
  }
  /// The interval, or less if a backend is about to change.
  [[nodiscard]] milliseconds pause() const {
    milliseconds least = interval();
    for (const Judged& one : backends) {
      if (one.standing.is_changing()) least = std::min(least, one.member.check().fast_interval);
    }
    return least;
  }
  [[nodiscard]] milliseconds fast_interval() const {
    milliseconds least = interval();
    for (const Judged& one : backends) least = std::min(least, one.member.check().fast_interval);
    return least;
  }
  /// The longest: whether a reply is too late for a backend is judged for each of them.
  [[nodiscard]] milliseconds timeout() const {
    milliseconds most{0};
    for (const Judged& one : backends) most = std::max(most, one.member.check().timeout);
    return most;
  }

  void be_due_at(Instant when) {
    due_at = when;
    rounds_.loop_.timers().arm(*this, when);
  }
  /// No check of it begins any more.
  void retire() {
    is_retired = true;
    rounds_.loop_.timers().disarm(*this);
    if (probe != nullptr) probe->stop();
  }

  std::vector<Judged> backends;
  Instant due_at;          // of the next check, or of the one under way
  Instant began_at;        // the check under way, or the last one
  Probe* probe = nullptr;  // under way
  bool is_retired = false;

 private:
  void expired() override { rounds_.due_.push_back(shared_from_this()); }

  Rounds& rounds_;
  const Target target_;
};

Rounds::Rounds(ring::Loop& loop, Log& log, const OnChange& on_change, Figures& figures)
    : loop_(loop),
      log_(log),
      on_change_(on_change),
      figures_(figures),
      random_(std::random_device()()) {}

Rounds::~Rounds() { MC_ASSERT(under_way_ == 0, "a check outlived what started it"); }

// ---- what is checked

void Rounds::set_pools(std::shared_ptr<const policy::LivePools> pools) {
  if (stopping_ || pools == pools_) return;
  pools_ = std::move(pools);
  Plan plan = plan_checks(*pools_, kTargetsMax);
  JudgedByState before = take_judged();
  RoundsByKey old = std::exchange(rounds_, {});
  for (Planned& planned : plan.targets) {
    const auto found = old.find(planned.key);
    const bool is_new = found == old.end();
    auto round = is_new ? std::make_shared<Round>(*this, std::move(planned.target))
                        : std::move(old.extract(found).mapped());
    for (const Member& member : planned.members) {
      round->backends.push_back(judged(member, before));
    }
    // One that stays may have waited for a longer interval.
    const bool is_far = round->armed() && round->due_at > loop_.now() + round->interval();
    if (is_new || is_far) schedule_first(*round);
    rounds_.emplace(std::move(planned.key), std::move(round));
  }
  for (const auto& [key, round] : old) round->retire();
  for (const auto& [state, one] : before) {
    one.member.state->set_health(policy::Health::kUnchecked, {}, loop_.now());
  }
  figures_.targets.store(rounds_.size(), std::memory_order_relaxed);
  warn_of(plan.left_out);
}

// Of all backends that are checked.
Rounds::JudgedByState Rounds::take_judged() {
  JudgedByState all;
  for (const auto& [key, round] : rounds_) {
    for (Judged& one : round->backends) {
      const policy::BackendState* const state = one.member.state.get();
      all.emplace(state, std::move(one));
    }
    round->backends.clear();
  }
  return all;
}

Rounds::Judged Rounds::judged(const Member& member, JudgedByState& before) {
  const auto found = before.find(member.state.get());
  if (found == before.end()) {
    return {.member = member, .standing = Standing(member.state->health()), .why = {}};
  }
  Judged kept = std::move(found->second);
  before.erase(found);
  kept.member = member;
  return kept;
}

// Once, until all have room again.
void Rounds::warn_of(std::size_t left_out) {
  if (left_out > 0 && !has_warned_) {
    log_.warn("too many backends to check; the rest counts as alive, unchecked",
              {{"targets_max", kTargetsMax}, {"left_out", left_out}});
  }
  has_warned_ = left_out > 0;
}

// ---- when

void Rounds::schedule_first(Round& round) {
  round.be_due_at(loop_.now() + random_below(std::min(round.interval(), kFirstSpread)));
}

void Rounds::schedule_next(Round& round, const Outcome& outcome) {
  const milliseconds pause =
      outcome.verdict == Verdict::kNone ? round.fast_interval() : round.pause();
  const milliseconds jitter = pause * kJitterPercent / 100;
  // From beginning to beginning; at once after a check that took longer than that.
  const Instant due = round.began_at + pause - jitter + random_below(2 * jitter);
  round.be_due_at(std::max(due, loop_.now()));
}

// Zero if `end` is.
milliseconds Rounds::random_below(milliseconds end) {
  if (end.count() == 0) return end;
  return milliseconds(random_.next() % static_cast<std::uint64_t>(end.count()));
}

// ---- a check

void Rounds::start_due() {
  while (!due_.empty() && under_way_ < kUnderWayMax) {
    const std::shared_ptr<Round> round = std::move(due_.front());
    due_.pop_front();
    if (!round->is_retired) check(round);
  }
}

void Rounds::stop() {
  stopping_ = true;
  for (const auto& [key, round] : rounds_) round->retire();
  due_.clear();
}

// Keeps the round, which may leave the plan meanwhile.
ring::Detached Rounds::check(std::shared_ptr<Round> round) {
  ++under_way_;
  round->began_at = loop_.now();
  figures_.lateness.started(round->began_at - round->due_at, round->began_at);
  Probe probe(loop_, round->target(), round->timeout());
  round->probe = &probe;
  const Outcome outcome = co_await probe.run();
  round->probe = nullptr;
  --under_way_;
  finish(*round, outcome, loop_.now() - round->began_at);
}

void Rounds::finish(Round& round, const Outcome& outcome, milliseconds took) {
  if (round.is_retired) return;
  if (outcome.verdict != Verdict::kNone) {
    const bool has_passed = outcome.verdict != Verdict::kFailed;
    (has_passed ? figures_.passed : figures_.failed).fetch_add(1, std::memory_order_relaxed);
    const milliseconds longest = round.timeout();
    for (Judged& one : round.backends) {
      const milliseconds timeout = one.member.check().timeout;
      const bool is_late = has_passed && timeout < longest && took > timeout;
      judge(one, is_late ? Outcome{Verdict::kFailed, no_reply_within(timeout)} : outcome);
    }
  } else {
    log_.debug("a check was not made",
               {{"backend", round.target().address.to_string()}, {"error", outcome.why}});
  }
  schedule_next(round, outcome);
}

void Rounds::judge(Judged& judged, const Outcome& outcome) {
  const auto found =
      outcome.verdict == Verdict::kFailed ? policy::Health::kDown : policy::Health::kUp;
  Change change{.pool = judged.member.pool,
                .backend = judged.member.state,
                .before = judged.standing.health(),
                .after = policy::Health::kUnchecked,
                .why = outcome.why};
  change.checks = judged.standing.count(found, judged.member.check());
  change.after = judged.standing.health();
  if (change.checks > 0 || judged.why != outcome.why) {
    judged.why = outcome.why;
    judged.member.state->set_health(change.after, outcome.why, loop_.now());
  }
  if (outcome.verdict == Verdict::kAnswered && !std::exchange(judged.alert_reported, true)) {
    log_.warn("a backend refuses the hello of its check; see the name of the check",
              {{"pool", judged.member.state->pool()},
               {"backend", judged.member.state->address().to_string()},
               {"name", judged.member.check().name},
               {"reason", outcome.why}});
  }
  if (change.checks > 0) announce(change);
}

void Rounds::announce(const Change& change) {
  const std::string backend = change.backend->address().to_string();
  const Log::Fields fields = {{"pool", change.backend->pool()},
                              {"backend", backend},
                              {"reason", change.why},
                              {"checks", change.checks}};
  // The first check of each backend at a start is no news.
  if (change.before == policy::Health::kUnchecked && change.after == policy::Health::kUp) {
    log_.debug("backend is up", fields);
  } else if (change.after == policy::Health::kUp) {
    log_.info("backend is up", fields);
  } else {
    log_.warn("backend is down", fields);
  }
  if (on_change_) on_change_(change);
}

}  // namespace mc::health
