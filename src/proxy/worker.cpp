// SPDX-License-Identifier: Apache-2.0
#include "proxy/worker.hpp"

#include <algorithm>
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
      limiter_(*loop_, parts.settings.listener_names, parts.log_lines_max,
               parts.counters.lines_suppressed, parts.log),
      last_id_{.worker = parts.index},
      events_(parts.events),
      context_{*loop_,    *peek_buffers_, parser_,        parts.policy,   pipes_,
               *engine_,  copy_buffer_,   parts.counters, parts.settings, parts.connections,
               parts.log, sessions_,      last_id_,       events_,        limiter_},
      signs_(parts.signs) {
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
    obey();
    loop_->dispatch();
    if (!events_.flush()) loop_->wake();
    show_signs();
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

bool Worker::order(std::unique_ptr<SessionOrder>& order) {
  {
    const std::lock_guard lock(mailbox_);
    if (orders_ == kOrdersMax) return false;
    ++orders_;
    ordered_.push_back(std::move(order));
    has_mail_.store(true, std::memory_order_release);
  }
  loop_->wake();
  return true;
}

void Worker::obey() {
  open_or_suspend();
  begin_drain();
  take_orders();
  if (!under_way_.empty()) carry_out_a_slice();
}

void Worker::open_or_suspend() {
  const Accepting wanted = accepting_wanted_.load(std::memory_order_acquire);
  if (wanted == accepting_ || obeyed_ != Instant{}) return;
  accepting_ = wanted;
  signs_.quiet.store(false, std::memory_order_relaxed);
  for (const auto& listener : listeners_) {
    wanted == Accepting::kYes ? listener->open() : listener->suspend();
  }
}

void Worker::show_signs() {
  signs_.turns.add();
  if (accepting_ == Accepting::kYes || signs_.quiet.load(std::memory_order_relaxed)) return;
  if (!std::ranges::all_of(listeners_, [](const auto& listener) { return listener->quiet(); })) {
    return;
  }
  signs_.quiet.store(true, std::memory_order_release);
  signs_.quiet.notify_all();
}

void Worker::begin_drain() {
  const Instant drain_by = drain_by_.load(std::memory_order_acquire);
  if (drain_by == obeyed_) return;
  obeyed_ = drain_by;
  for (const auto& listener : listeners_) listener->close();
  loop_->timers().arm(*this, drain_by);
}

void Worker::take_orders() {
  if (!has_mail_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mailbox_);
  has_mail_.store(false, std::memory_order_relaxed);
  for (auto& order : ordered_) {
    under_way_.push_back(std::make_unique<UnderWay>(std::move(order), sessions_));
  }
  ordered_.clear();
}

// Of the first order that can go on, which then is the last in the row.
void Worker::carry_out_a_slice() {
  for (std::size_t left = under_way_.size(); left > 0; --left) {
    std::ranges::rotate(under_way_, under_way_.begin() + 1);
    const SessionOrder::Next next = under_way_.back()->order->next();
    if (next == SessionOrder::Next::kRest) continue;
    if (next == SessionOrder::Next::kGiveUp || !do_slice(*under_way_.back())) {
      under_way_.pop_back();
      const std::lock_guard lock(mailbox_);
      --orders_;
    }
    loop_->wake();  // for the next slice
    return;
  }
}

// Whether there are more to do.
bool Worker::do_slice(UnderWay& under_way) {
  SessionOrder& order = *under_way.order;
  const std::size_t acts_max = order.acts_per_slice();
  bool more = true;
  std::size_t acts = 0;
  for (std::size_t visits = 0; more && visits < kVisitsPerTurn && acts < acts_max; ++visits) {
    Session* const session = under_way.walk.next();
    more = session != nullptr;
    if (more && order.visit(*session) == SessionOrder::Visit::kActed) ++acts;
  }
  order.slice_done();
  return more;
}

void Worker::expired() {
  // A listener may still be handing over what it had accepted: come again until nobody is left.
  for (Session* const session : sessions_) session->interrupt(Reason::kShutdown);
  loop_->timers().arm(*this, loop_->now() + kResetAgain);
}

bool Worker::done() const {
  return obeyed_ != Instant{} && sessions_.empty() && loop_->in_flight() == 0 &&
         std::ranges::all_of(listeners_, [](const auto& listener) { return listener->closed(); });
}

}  // namespace mc::proxy
