// SPDX-License-Identifier: Apache-2.0
#include "proxy/worker.hpp"

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include "proxy/limits.hpp"
#include "proxy/session.hpp"
#include "tls/limits.hpp"

namespace mc::proxy {

namespace {
constexpr std::uint16_t kPeekGroup = 0;
}

std::expected<std::unique_ptr<Worker>, ring::SetupError> Worker::create(
    WorkerParts parts, std::vector<ListeningSocket> sockets) {
  auto loop = ring::Loop::create();
  if (!loop.has_value()) return std::unexpected(loop.error());
  auto buffers =
      ring::BufferGroup::create(**loop, kPeekGroup, ring::kPeekBuffers, tls::kHelloStreamMax);
  if (!buffers.has_value()) return std::unexpected(buffers.error());
  return std::unique_ptr<Worker>(
      new Worker(parts, std::move(*loop), std::move(*buffers), std::move(sockets)));
}

Worker::Worker(WorkerParts parts, std::unique_ptr<ring::Loop> loop,
               std::unique_ptr<ring::BufferGroup> peek_buffers,
               std::vector<ListeningSocket> sockets)
    : loop_(std::move(loop)),
      peek_buffers_(std::move(peek_buffers)),
      pipes_(*loop_, kPipesPerWorker),
      engine_(SpliceEngine::make(parts.settings.splice)),
      copy_buffer_(kCopyBytes),
      limiter_(loop_->timers(), parts.settings.listener_names, parts.log_lines_max,
               parts.counters.lines_suppressed, parts.log),
      events_(parts.events),
      reporter_(parts.settings.listener_names, parts.counters, events_, limiter_, parts.log),
      context_{.worker = parts.index,
               .loop = *loop_,
               .peek_buffers = *peek_buffers_,
               .parser = parser_,
               .policy = parts.policy,
               .pipes = pipes_,
               .engine = *engine_,
               .copy_buffer = copy_buffer_,
               .settings = parts.settings,
               .connections = parts.connections,
               .sessions = sessions_,
               .counters = parts.counters,
               .reporter = reporter_,
               .log = parts.log,
               .random = Random(std::random_device()())},
      status_(parts.status) {
  for (ListeningSocket& socket : sockets) {
    listeners_.push_back(
        std::make_unique<Listener>(context_, socket.listener, std::move(socket.fd)));
  }
}

void Worker::run() {
  context_.policy.online();
  while (!done()) {
    context_.policy.offline();  // the policy of the last turn may go while this thread sleeps
    loop_->wait();
    context_.policy.online();
    apply_commands();
    loop_->dispatch();
    if (!events_.flush()) loop_->wake();
    show_status();
  }
  while (!events_.flush()) std::this_thread::yield();
  context_.policy.offline();
  limiter_.report();
}

void Worker::accept(Accepting wanted) {
  accepting_wanted_.store(wanted, std::memory_order_release);
  loop_->wake();
}

void Worker::drain(Instant deadline) {
  drain_by_.store(deadline, std::memory_order_release);
  loop_->wake();
}

bool Worker::submit(std::unique_ptr<Sweep>& sweep) {
  {
    const std::lock_guard lock(mailbox_);
    if (sweeps_ == kSweepsMax) return false;
    ++sweeps_;
    submitted_.push_back(std::move(sweep));
    has_mail_.store(true, std::memory_order_release);
  }
  loop_->wake();
  return true;
}

void Worker::apply_commands() {
  open_or_suspend();
  begin_drain();
  take_sweeps();
  if (!under_way_.empty()) carry_out_a_slice();
}

void Worker::open_or_suspend() {
  const Accepting wanted = accepting_wanted_.load(std::memory_order_acquire);
  if (wanted == accepting_ || draining_by_ != Instant{}) return;
  accepting_ = wanted;
  status_.not_accepting.store(false, std::memory_order_relaxed);
  for (const auto& listener : listeners_) {
    wanted == Accepting::kYes ? listener->open() : listener->suspend();
  }
}

void Worker::show_status() {
  status_.turns.add();
  if (accepting_ == Accepting::kYes || status_.not_accepting.load(std::memory_order_relaxed))
    return;
  if (!std::ranges::all_of(listeners_, [](const auto& listener) { return listener->quiet(); })) {
    return;
  }
  status_.not_accepting.store(true, std::memory_order_release);
  status_.not_accepting.notify_all();
}

void Worker::begin_drain() {
  const Instant drain_by = drain_by_.load(std::memory_order_acquire);
  if (drain_by == draining_by_) return;
  draining_by_ = drain_by;
  for (const auto& listener : listeners_) listener->close();
  loop_->timers().arm(*this, drain_by);
}

void Worker::take_sweeps() {
  if (!has_mail_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mailbox_);
  has_mail_.store(false, std::memory_order_relaxed);
  for (auto& sweep : submitted_) {
    under_way_.push_back(std::make_unique<UnderWay>(std::move(sweep), sessions_));
  }
  submitted_.clear();
}

// Of the first sweep that can continue; that one then moves to the end of the row.
void Worker::carry_out_a_slice() {
  for (std::size_t left = under_way_.size(); left > 0; --left) {
    std::ranges::rotate(under_way_, under_way_.begin() + 1);
    const Sweep::Next next = under_way_.back()->sweep->next();
    if (next == Sweep::Next::kRest) continue;
    if (next == Sweep::Next::kGiveUp || !do_slice(*under_way_.back())) {
      under_way_.pop_back();
      const std::lock_guard lock(mailbox_);
      --sweeps_;
    }
    loop_->wake();  // for the next slice
    return;
  }
}

// Returns whether there are more to do.
bool Worker::do_slice(UnderWay& under_way) {
  Sweep& sweep = *under_way.sweep;
  const std::size_t acts_max = sweep.acts_per_slice();
  bool more = true;
  std::size_t acts = 0;
  for (std::size_t visits = 0; more && visits < kVisitsPerTurn && acts < acts_max; ++visits) {
    LiveConnection* const connection = under_way.walk.next();
    more = connection != nullptr;
    if (more && sweep.visit(*connection, loop_->now()) == Sweep::Visit::kActed) ++acts;
  }
  sweep.slice_done();
  return more;
}

void Worker::expired() {
  // A listener may still be admitting what it had accepted: repeat until no session is left.
  for (LiveConnection* const session : sessions_) session->interrupt(Reason::kShutdown);
  loop_->timers().arm(*this, loop_->now() + kResetAgain);
}

bool Worker::done() const {
  return draining_by_ != Instant{} && sessions_.empty() && loop_->in_flight() == 0 &&
         std::ranges::all_of(listeners_, [](const auto& listener) { return listener->closed(); });
}

}  // namespace mc::proxy
