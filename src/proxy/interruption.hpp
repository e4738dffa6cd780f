// SPDX-License-Identifier: Apache-2.0
#pragma once
// Ends a session while it waits: holds one reason, and wakes the one thing that it waits for. Its
// worker's thread only.

#include <coroutine>

#include "ring/interruptible.hpp"
#include "ring/loop.hpp"
#include "ring/timer_wheel.hpp"
#include "traffic/reason.hpp"

namespace mc::proxy {

using traffic::Reason;

class Interruption {
 public:
  Interruption() = default;
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// An order to end. Keeps the first reason, except that an order replaces a deadline, whose
  /// operation may still have completed in time.
  void interrupt(Reason reason) {
    if (is_final()) return wake();
    reason_ = reason;
    by_deadline_ = false;
    wake();
  }
  /// A deadline has passed.
  void time_out(Reason reason) {
    if (reason_ == Reason::kNone) {
      reason_ = reason;
      by_deadline_ = true;
    }
    wake();
  }
  /// The event of the deadline has happened: forgets a deadline that passed in the same turn.
  void forgive_deadline() {
    if (by_deadline_) reason_ = Reason::kNone;
    by_deadline_ = false;
  }
  /// The session ends by itself; a later order has no effect.
  void settle(Reason reason) {
    reason_ = reason;
    by_deadline_ = false;
  }
  /// Wakes the session without a reason to end.
  void wake() {
    if (waiting_for_ != nullptr) waiting_for_->interrupt();
  }

  /// kNone: the session goes on.
  [[nodiscard]] Reason reason() const { return reason_; }
  [[nodiscard]] Reason reason_or(Reason otherwise) const {
    return reason_ != Reason::kNone ? reason_ : otherwise;
  }
  /// An order to end would come too late.
  [[nodiscard]] bool is_final() const { return reason_ != Reason::kNone && !by_deadline_; }

  /// `co_await interruption.reaches(operation)`: as `co_await operation`, but a wake-up of the
  /// session ends it early. Does not wait at all if there is a reason to end.
  template <class Operation>
  auto reaches(Operation& operation) {
    struct Awaiter {
      Interruption& interruption;
      Operation& operation;

      bool await_ready() {
        return interruption.reason_ != Reason::kNone || operation.await_ready();
      }
      void await_suspend(std::coroutine_handle<> coroutine) {
        interruption.waiting_for_ = &operation;
        operation.await_suspend(coroutine);
      }
      auto await_resume() {
        interruption.waiting_for_ = nullptr;
        return operation.await_resume();
      }
    };
    return Awaiter{*this, operation};
  }

 private:
  ring::Interruptible* waiting_for_ = nullptr;
  Reason reason_ = Reason::kNone;
  bool by_deadline_ = false;
};

/// Interrupts a session at an instant, unless the awaited event has happened by then.
class Deadline final : private ring::Timer {
 public:
  Deadline(ring::Loop& loop, Interruption& interruption, Clock::duration from_now, Reason reason)
      : interruption_(interruption), reason_(reason) {
    loop.timers().arm(*this, loop.now() + from_now);
  }

  void met(ring::Loop& loop) {
    loop.timers().disarm(*this);
    interruption_.forgive_deadline();
  }

 private:
  void expired() override { interruption_.time_out(reason_); }

  Interruption& interruption_;
  Reason reason_;
};

}  // namespace mc::proxy
