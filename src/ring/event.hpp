// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where one coroutine waits for any of several things (two sockets, a splice, a deadline). Each of
// them notifies; the coroutine then checks which it was.

#include <coroutine>
#include <utility>

#include "ring/interruptible.hpp"
#include "ring/loop.hpp"

namespace mc::ring {

/// An auto-resetting event with at most one waiter: `co_await event`. Notifications that come while
/// nobody waits are remembered as one. Owner thread only.
class Event final : public Interruptible {
 public:
  explicit Event(Loop& loop) : loop_(&loop) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { MC_ASSERT(!waiter_, "an event was destroyed under its waiter"); }

  void notify() {
    if (waiter_) {
      loop_->resume_soon(std::exchange(waiter_, nullptr));
    } else {
      notified_ = true;
    }
  }
  void interrupt() override { notify(); }

  [[nodiscard]] Loop& loop() const { return *loop_; }

  bool await_ready() noexcept { return std::exchange(notified_, false); }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept { waiter_ = coroutine; }
  void await_resume() const noexcept {}

 private:
  Loop* loop_;
  std::coroutine_handle<> waiter_;
  bool notified_ = false;
};

}  // namespace mc::ring
