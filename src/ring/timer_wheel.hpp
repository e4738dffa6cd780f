// SPDX-License-Identifier: Apache-2.0
#pragma once
// Deadlines of one thread, in a hierarchical timing wheel (Varghese and Lauck, SOSP 1987). Arming
// and disarming are O(1) and allocate nothing. The wheel gives the ring its wait timeout, so a
// deadline costs no system call and no kernel memory (a ring timeout: 358 bytes and an hrtimer
// each).

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.hpp"

namespace mc::ring {

/// One deadline. Pinned: its user embeds it. Disarms itself when it is destroyed. Owner thread
/// only.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  [[nodiscard]] bool armed() const { return slot_link_ != nullptr; }
  /// When it fires, while it is armed.
  [[nodiscard]] Instant expiry() const { return expiry_; }

 protected:
  ~Timer() { unlink(); }

  /// The deadline has passed; the timer is disarmed already and may be armed again from here.
  virtual void expired() = 0;

 private:
  friend class TimerWheel;

  void unlink();

  Timer* next_ = nullptr;
  // What points at this timer: its slot's head, or its neighbour's next_.
  Timer** slot_link_ = nullptr;
  Instant expiry_;
};

/// The wheel. Owner thread only.
class TimerWheel {
 public:
  explicit TimerWheel(Instant now) : now_(ticks(now)) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  /// Timers that are still armed are left disarmed.
  ~TimerWheel();

  /// Arms, or moves, `timer` to fire at `expiry`; a time in the past means the next millisecond.
  void arm(Timer& timer, Instant expiry);
  void disarm(Timer& timer) { timer.unlink(); }

  /// Fires every timer that is due by `now`, in the order of their deadlines (to the millisecond).
  void advance(Instant now);

  /// The earliest time at which advance() may have something to do; nothing when no timer is armed.
  /// May lie before the first deadline: timers move down a level on their way.
  [[nodiscard]] std::optional<Instant> next();

 private:
  // Eleven levels of 64 slots span all 64 bits, so that no deadline is ever out of range.
  static constexpr int kBits = 6;
  static constexpr int kSlots = 1 << kBits;
  static constexpr int kLevels = 11;

  struct Level {
    std::array<Timer*, kSlots> heads{};
    std::uint64_t occupied = 0;  // may say 1 for an emptied slot; next() clears it then
  };

  // What the wheel counts: milliseconds since the clock's epoch.
  static std::uint64_t ticks(Instant instant) {
    return static_cast<std::uint64_t>(instant.time_since_epoch().count());
  }

  void place(Timer& timer);
  void take_down(int level, int slot);
  std::optional<std::uint64_t> next_tick();

  std::uint64_t now_;
  std::array<Level, kLevels> levels_;
};

}  // namespace mc::ring
