// SPDX-License-Identifier: Apache-2.0
#include "proxy/sweep.hpp"

#include <iterator>

#include "proxy/limits.hpp"

namespace mc::proxy {

// ---- cut

Sweep::Visit CutSweep::visit(LiveConnection& connection, Instant) {
  const traffic::ConnectionFacts& facts = connection.facts();
  const auto admits = [this](const SocketAddress& address) {
    return firewall_->check(address.ip()) == policy::Verdict::kAllowed;
  };
  // As on its way in: the proxy that conveys a client, too.
  if (admits(facts.client()) && (!facts.is_conveyed() || admits(facts.peer))) {
    return Visit::kPassed;
  }
  connection.interrupt(Reason::kFirewallCut);
  return Visit::kActed;
}

std::size_t CutSweep::acts_per_slice() const { return kResetsPerTurn; }

Sweep::Visit BackendDownSweep::visit(LiveConnection& connection, Instant) {
  const traffic::ConnectionFacts& facts = connection.facts();
  if (facts.pooled == nullptr || facts.pooled->backend != backend_ ||
      facts.stage != traffic::Stage::kRelay) {
    return Visit::kPassed;
  }
  connection.interrupt(Reason::kBackendDown);
  return Visit::kActed;
}

std::size_t BackendDownSweep::acts_per_slice() const { return kResetsPerTurn; }

// ---- what is found

void SweepResults::began() {
  const std::lock_guard lock(lock_);
  ++sweeps_;
}

void SweepResults::ended() {
  const std::lock_guard lock(lock_);
  --sweeps_;
  changed_.notify_one();
}

Sweep::Next SweepResults::next() {
  const std::lock_guard lock(lock_);
  if (given_up_) return Sweep::Next::kGiveUp;
  if (rows_.size() < kRowsWaitingMax) return Sweep::Next::kSlice;
  rests_ = true;
  return Sweep::Next::kRest;
}

void SweepResults::add(std::vector<traffic::Connection>& rows, std::size_t count) {
  const std::lock_guard lock(lock_);
  count_ += count;
  if (rows.empty()) return;
  rows_.insert(rows_.end(), std::move_iterator(rows.begin()), std::move_iterator(rows.end()));
  rows.clear();
  changed_.notify_one();
}

SweepResults::Taken SweepResults::take() {
  std::unique_lock lock(lock_);
  changed_.wait_for(lock, kResultsWaitMax, [this] { return !rows_.empty() || sweeps_ == 0; });
  Taken taken{.over = sweeps_ == 0, .wanted = std::exchange(rests_, false)};
  taken.rows.swap(rows_);
  return taken;
}

std::uint64_t SweepResults::count() const {
  const std::lock_guard lock(lock_);
  return count_;
}

void SweepResults::give_up() {
  const std::lock_guard lock(lock_);
  given_up_ = true;
}

// ---- by filter

FilterSweep::FilterSweep(std::shared_ptr<SweepResults> results, SweepAction action)
    : results_(std::move(results)), action_(action) {
  results_->began();
}

Sweep::Visit FilterSweep::visit(LiveConnection& connection, Instant now) {
  // A connection that is ending is neither listed nor closed again.
  if (connection.is_ending() || !matches(results_->filter(), connection.facts())) {
    return Visit::kPassed;
  }
  ++count_;
  switch (action_) {
    case SweepAction::kCount:
      return Visit::kPassed;
    case SweepAction::kList:
      rows_.push_back(describe(connection.facts(), now));
      break;
    case SweepAction::kClose:
      connection.interrupt(Reason::kClosedByOperator);
      break;
  }
  return Visit::kActed;
}

std::size_t FilterSweep::acts_per_slice() const {
  return action_ == SweepAction::kClose ? kResetsPerTurn : kRowsPerTurn;
}

void FilterSweep::slice_done() {
  if (count_ > 0) results_->add(rows_, std::exchange(count_, 0));
}

}  // namespace mc::proxy
