// SPDX-License-Identifier: Apache-2.0
#include "proxy/session_order.hpp"

#include <iterator>

#include "proxy/limits.hpp"
#include "proxy/session.hpp"

namespace mc::proxy {

// ---- cut

SessionOrder::Visit CutOrder::visit(Session& session) {
  if (whom_->check(session.client_ip()) == policy::Verdict::kAllowed) return Visit::kPassed;
  session.interrupt(Reason::kFirewallCut);
  return Visit::kActed;
}

std::size_t CutOrder::acts_per_slice() const { return kResetsPerTurn; }

// ---- what is found

void Findings::began() {
  const std::lock_guard lock(lock_);
  ++orders_;
}

void Findings::ended() {
  const std::lock_guard lock(lock_);
  --orders_;
  changed_.notify_one();
}

SessionOrder::Next Findings::next() {
  const std::lock_guard lock(lock_);
  if (given_up_) return SessionOrder::Next::kGiveUp;
  if (rows_.size() < kRowsWaitingMax) return SessionOrder::Next::kSlice;
  rests_ = true;
  return SessionOrder::Next::kRest;
}

void Findings::add(std::vector<Connection>& rows, std::size_t count) {
  const std::lock_guard lock(lock_);
  count_ += count;
  if (rows.empty()) return;
  rows_.insert(rows_.end(), std::move_iterator(rows.begin()), std::move_iterator(rows.end()));
  rows.clear();
  changed_.notify_one();
}

Findings::Taken Findings::take() {
  std::unique_lock lock(lock_);
  changed_.wait_for(lock, kFindingsWaitMax, [this] { return !rows_.empty() || orders_ == 0; });
  Taken taken{.over = orders_ == 0, .wanted = std::exchange(rests_, false)};
  taken.rows.swap(rows_);
  return taken;
}

std::uint64_t Findings::count() const {
  const std::lock_guard lock(lock_);
  return count_;
}

void Findings::give_up() {
  const std::lock_guard lock(lock_);
  given_up_ = true;
}

// ---- by filter

FilterOrder::FilterOrder(std::shared_ptr<Findings> findings, Treatment treatment)
    : findings_(std::move(findings)), treatment_(treatment) {
  findings_->began();
}

SessionOrder::Visit FilterOrder::visit(Session& session) {
  // One that is on its way out is neither listed nor closed once more.
  if (session.is_ending() || !findings_->filter().matches(session)) return Visit::kPassed;
  ++count_;
  switch (treatment_) {
    case Treatment::kCount:
      return Visit::kPassed;
    case Treatment::kList:
      rows_.push_back(session.describe());
      break;
    case Treatment::kClose:
      session.interrupt(Reason::kClosedByOperator);
      break;
  }
  return Visit::kActed;
}

std::size_t FilterOrder::acts_per_slice() const {
  return treatment_ == Treatment::kClose ? kResetsPerTurn : kRowsPerTurn;
}

void FilterOrder::slice_done() {
  if (count_ > 0) findings_->add(rows_, std::exchange(count_, 0));
}

}  // namespace mc::proxy
