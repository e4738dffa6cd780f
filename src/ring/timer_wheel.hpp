// SPDX-License-Identifier: Apache-2.0
#pragma once
// Deadlines of one thread, in a hierarchical timing wheel (Varghese and Lauck, SOSP 1987): arming
// and disarming are O(1) and allocate nothing, and the wheel tells the ring how long it may sleep,
// so that a deadline costs no system call and no kernel memory (a ring timeout: 358 bytes and an
// hrtimer each).

#include <array>
#include <cstdint>
#include <optional>

namespace mc::ring {

/// Milliseconds of CLOCK_MONOTONIC.
using Milliseconds = std::uint64_t;

/// One deadline. Pinned: whoever waits embeds it. Disarms itself when it is destroyed. Owner thread
/// only.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  [[nodiscard]] bool armed() const { return slot_link_ != nullptr; }
  /// When it fires, while it is armed.
  [[nodiscard]] Milliseconds expiry() const { return expiry_; }

 protected:
  ~Timer() { unlink(); }

  /// The deadline has passed; the timer is disarmed already and may be armed again from here.
  virtual void expired() = 0;

 private:
  friend class TimerWheel;

  void unlink();

  Timer* next_ = nullptr;
  Timer** slot_link_ =
      nullptr;  // what points at this timer: its slot's head, or its neighbour's next_
  Milliseconds expiry_ = 0;
};

/// The wheel. Owner thread only.
class TimerWheel {
 public:
  explicit TimerWheel(Milliseconds now) : now_(now) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  /// Timers that are still armed are left disarmed.
  ~TimerWheel();

  /// Arms, or moves, `timer` to fire at `expiry`; a time that has passed means the next
  /// millisecond.
  void arm(Timer& timer, Milliseconds expiry);
  void disarm(Timer& timer) { timer.unlink(); }

  /// Fires every timer that is due by `now`, in the order of their deadlines (to the millisecond).
  void advance(Milliseconds now);

  /// The earliest time at which advance() may have something to do; nothing when no timer is armed.
  /// It can lie before the first deadline, when timers have to move down a level on their way.
  [[nodiscard]] std::optional<Milliseconds> next();

 private:
  // Eleven levels of 64 slots span all 64 bits, so that no deadline is ever out of range.
  static constexpr int kBits = 6;
  static constexpr int kSlots = 1 << kBits;
  static constexpr int kLevels = 11;

  struct Level {
    std::array<Timer*, kSlots> heads{};
    std::uint64_t occupied = 0;  // may say 1 for an emptied slot; next() clears it then
  };

  void place(Timer& timer);
  void take_down(int level, int slot);

  Milliseconds now_;
  std::array<Level, kLevels> levels_;
};

}  // namespace mc::ring
