// SPDX-License-Identifier: Apache-2.0
#include "ring/timer_wheel.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace mc::ring {

void Timer::unlink() {
  if (!armed()) return;
  *slot_link_ = next_;
  if (next_ != nullptr) next_->slot_link_ = slot_link_;
  next_ = nullptr;
  slot_link_ = nullptr;
}

TimerWheel::~TimerWheel() {
  for (Level& level : levels_) {
    for (Timer*& head : level.heads) {
      while (head != nullptr) head->unlink();
    }
  }
}

void TimerWheel::arm(Timer& timer, Instant expiry) {
  timer.unlink();
  const Instant soonest(Clock::duration(now_ + 1));
  timer.expiry_ = std::max(expiry, soonest);
  place(timer);
}

// A timer stands on the level of the highest digit (base 64) in which its deadline differs from
// now. There its slot is ahead of the level's hand, and time passes through every level below on
// the way.
void TimerWheel::place(Timer& timer) {
  const std::uint64_t expiry = ticks(timer.expiry_);
  const std::uint64_t difference = expiry ^ now_;
  const int level = difference == 0 ? 0 : (std::bit_width(difference) - 1) / kBits;
  const int slot = static_cast<int>(expiry >> (level * kBits)) & (kSlots - 1);
  Timer*& head = levels_[level].heads[slot];
  timer.next_ = head;
  timer.slot_link_ = &head;
  if (head != nullptr) head->slot_link_ = &timer.next_;
  head = &timer;
  levels_[level].occupied |= std::uint64_t{1} << slot;
}

std::optional<Instant> TimerWheel::next() {
  const auto tick = next_tick();
  if (!tick.has_value()) return std::nullopt;
  return Instant(Clock::duration(*tick));
}

std::optional<std::uint64_t> TimerWheel::next_tick() {
  for (int level = 0; level < kLevels; ++level) {
    const int shift = level * kBits;
    Level& at = levels_[level];
    const int hand = static_cast<int>(now_ >> shift) & (kSlots - 1);
    // Slots behind the hand are empty by construction.
    std::uint64_t ahead = at.occupied & (~std::uint64_t{0} << hand);
    while (ahead != 0) {
      const int slot = std::countr_zero(ahead);
      if (at.heads[slot] != nullptr) {
        const std::uint64_t digit_and_below =
            shift + kBits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (shift + kBits)) - 1;
        return (now_ & ~digit_and_below) | static_cast<std::uint64_t>(slot) << shift;
      }
      at.occupied &= ~(std::uint64_t{1} << slot);
      ahead &= ahead - 1;
    }
  }
  return std::nullopt;
}

void TimerWheel::take_down(int level, int slot) {
  Timer* timer = std::exchange(levels_[level].heads[slot], nullptr);
  while (timer != nullptr) {
    Timer* const following = timer->next_;
    place(*timer);
    timer = following;
  }
}

void TimerWheel::advance(Instant now) {
  for (auto due = next_tick(); due.has_value() && *due <= ticks(now); due = next_tick()) {
    now_ = *due;
    for (int level = kLevels - 1; level > 0; --level) {
      const int shift = level * kBits;
      const bool hand_just_moved = (now_ & ((std::uint64_t{1} << shift) - 1)) == 0;
      if (hand_just_moved) take_down(level, static_cast<int>(now_ >> shift) & (kSlots - 1));
    }
    Timer*& head = levels_[0].heads[now_ & (kSlots - 1)];
    while (head != nullptr) {
      Timer* const timer = head;
      timer->unlink();
      timer->expired();
    }
  }
  now_ = std::max(now_, ticks(now));
}

}  // namespace mc::ring
