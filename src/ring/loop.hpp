// SPDX-License-Identifier: Apache-2.0
#pragma once
// One io_uring and the thread that owns it. The owner turns the loop by hand:
//
//     while (working) { loop.wait(); loop.dispatch(); }
//
// wait() submits what was queued and sleeps until a completion, a deadline or a wake-up; dispatch()
// hands out the completions, fires the deadlines and resumes the coroutines that became ready.
// Nothing else resumes a coroutine, so no code of a session ever runs inside the code of another.

#include <liburing.h>

#include <coroutine>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <vector>

#include "base/assert.hpp"
#include "base/fd.hpp"
#include "ring/limits.hpp"
#include "ring/restriction.hpp"
#include "ring/setup_error.hpp"
#include "ring/timer_wheel.hpp"

namespace mc::ring {

class Loop;

/// The receiver of a completion: the address of the Operation is the submission's user_data. Pinned
/// from submission to the last completion; destroying one in flight is our bug and aborts.
class Operation {
 public:
  explicit Operation(Loop& loop) : loop_(&loop) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  /// The kernel still refers to this operation, and to every buffer given with it.
  [[nodiscard]] bool in_flight() const { return in_flight_; }

 protected:
  ~Operation() {
    MC_ASSERT(!in_flight_, "an operation was destroyed while the kernel still held it");
  }

  [[nodiscard]] Loop& loop() const { return *loop_; }

  /// Called by the loop for every completion. `result` and `flags` are the CQE's; in_flight() is up
  /// to date already (a multishot operation stays in flight while the kernel sets
  /// IORING_CQE_F_MORE).
  virtual void complete(int result, unsigned flags) = 0;

 private:
  friend class Loop;

  Loop* loop_;
  bool in_flight_ = false;
};

/// What a ring is made for. Without changes: the work of a worker.
struct LoopOptions {
  /// All that it may ever do (IORING_OP_*); IORING_OP_READ is among them.
  std::span<const int> operations = kOperations;
  unsigned submission_entries = kSubmissionEntries;
  unsigned completion_entries = kCompletionEntries;
};

/// The ring of one thread. Everything but wake() belongs to the thread that made it.
class Loop {
 public:
  /// Makes the ring; on the thread that will turn it (IORING_SETUP_SINGLE_ISSUER binds it to the
  /// submitter).
  static std::expected<std::unique_ptr<Loop>, SetupError> create(const LoopOptions& options = {});
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  /// Queues an operation. `prepare` fills in the given SQE; user_data and flight state are set
  /// here.
  template <class Prepare>
  void submit(Operation& operation, Prepare&& prepare) {
    MC_ASSERT(!operation.in_flight_, "an operation was submitted twice");
    io_uring_sqe* const sqe = next_sqe();
    prepare(sqe);
    io_uring_sqe_set_data(sqe, &operation);
    operation.in_flight_ = true;
    ++in_flight_;
  }

  /// Requests that the kernel cancel an operation. Its own completion still comes and has the
  /// actual result (io_uring_cancelation(7)). Harmless when it is not in flight.
  void cancel(Operation& operation);

  /// Resumes the coroutine in this turn's dispatch(), or in the next one if this one is over.
  void resume_soon(std::coroutine_handle<> coroutine) { ready_.push_back(coroutine); }

  /// `co_await loop.yield()`: continues in the next turn, after other completions had their chance.
  auto yield();

  /// Submits, and sleeps until there is something to do. Returns at once if a coroutine is ready.
  void wait();
  /// Hands out completions, fires deadlines, resumes what is ready, until nothing is left for this
  /// turn.
  void dispatch();

  /// Makes the current or next wait() return. Any thread, async-signal-safe.
  void wake() noexcept;

  /// The time of the last return from wait(): one clock reading a turn.
  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] TimerWheel& timers() { return timers_; }
  /// Operations that the kernel holds, without the loop's own wake-up.
  [[nodiscard]] std::size_t in_flight() const { return in_flight_ - 1; }

  /// For registrations (buffer groups).
  [[nodiscard]] io_uring& raw() { return ring_; }

 private:
  class Wakeup;

  explicit Loop(const io_uring& ring, Fd wake_fd);

  io_uring_sqe* next_sqe();
  void reap();
  void run_ready();

  io_uring ring_;
  Instant now_;
  TimerWheel timers_;
  std::vector<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> next_turn_;
  std::size_t in_flight_ = 0;
  Fd wake_fd_;
  std::unique_ptr<Wakeup> wakeup_;
};

inline auto Loop::yield() {
  struct NextTurn {
    Loop& loop;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) const {
      loop.next_turn_.push_back(coroutine);
    }
    void await_resume() const noexcept {}
  };
  return NextTurn{*this};
}

}  // namespace mc::ring
