// SPDX-License-Identifier: Apache-2.0
#pragma once
// Events of connections, as they happen, for subscribers. Workers hand over a turn's events at its
// end, and wait neither for a lock nor for a subscriber. The last events of each kind are kept
// while it has a subscriber; a slow subscriber misses the oldest, and gets their number. Dial
// failures are always kept: an operator who looks for a fault wants to see the minute before.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "policy/live_pool.hpp"
#include "traffic/connection.hpp"
#include "traffic/reason.hpp"

namespace mc::traffic {

/// Ends of a connection have the same kinds as in the log.
enum class EventKind : std::uint8_t {
  kOpened,         // client and backend are connected
  kClosed,         // a connection with a route ended: "connection closed"
  kRefused,        // one without: "connection refused"
  kDialFailed,     // its backend could not be reached: "dial failed"
  kBackendHealth,  // a backend of a pool came up, went down or was ejected
};
inline constexpr std::size_t kEventKinds = 5;

/// Whether events of this kind are kept also without a subscriber.
constexpr bool is_kept_always(EventKind kind) { return kind == EventKind::kDialFailed; }

/// A number for each kind.
using EventCounts = std::array<std::uint64_t, kEventKinds>;

struct Event {
  EventKind kind;
  std::chrono::system_clock::time_point time;
  Connection connection;          // id.number is 0 where it was refused before it had a session
  Reason reason = Reason::kNone;  // how it ended
  int dial_error = 0;             // of kDialFailed; see dial_error_text()
  // Of kBackendHealth, whose backend is connection.pool's connection.backend.
  policy::Health health = policy::Health::kUnchecked;
  bool is_ejected = false;
  std::string why;
};
using Events = std::vector<std::shared_ptr<const Event>>;

/// Any thread.
class EventHub {
 public:
  class Subscription;

  EventHub() = default;
  EventHub(const EventHub&) = delete;
  EventHub& operator=(const EventHub&) = delete;

  /// Whether events of this kind have a subscriber, or are always kept.
  [[nodiscard]] bool wants(EventKind kind) const {
    return is_kept_always(kind) ||
           watchers_[static_cast<std::size_t>(kind)].load(std::memory_order_relaxed) > 0;
  }

  /// Takes the events, in their order, and the numbers of those lost before, out of its arguments.
  /// Returns false and takes nothing if another thread holds the lock: retry.
  bool try_take(Events& events, EventCounts& lost);

 private:
  // Of one kind.
  struct Kept {
    struct Slot {
      std::uint64_t number;  // of all events, so that kinds can be put in order
      std::shared_ptr<const Event> event;
    };
    std::deque<Slot> slots;   // at most kEventsKept
    std::uint64_t begin = 0;  // how many came before slots.front()
    std::uint64_t lost = 0;   // before they came here
  };

  std::array<std::atomic<std::uint32_t>, kEventKinds> watchers_{};  // written under lock_
  std::mutex lock_;
  std::array<Kept, kEventKinds> kept_;
  std::uint64_t taken_ = 0;
};

/// One subscriber, from now on. The hub outlives it. One thread.
class EventHub::Subscription {
 public:
  using Time = std::chrono::system_clock::time_point;

  /// For kinds that are always kept, starts with the kept events not older than `since`.
  Subscription(EventHub& hub, std::vector<EventKind> kinds, Time since = Time::max());
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  struct Seen {
    Events events;       // the next ones, in their order
    EventCounts lost{};  // lost before the events of their kind
  };
  /// Does not wait. At most `most` events.
  Seen read(std::size_t most);

 private:
  struct Cursor {
    EventKind kind;
    std::uint64_t next = 0;  // of its kind
    std::uint64_t lost = 0;  // already reported, or from before
  };

  [[nodiscard]] Kept& kept(const Cursor& cursor) const {
    return hub_.kept_[static_cast<std::size_t>(cursor.kind)];
  }
  Cursor* earliest();

  EventHub& hub_;
  std::vector<Cursor> cursors_;
};

/// A worker's side of the hub; its thread only.
class EventSource {
 public:
  explicit EventSource(EventHub& hub) : hub_(hub) {}

  [[nodiscard]] bool wants(EventKind kind) const { return hub_.wants(kind); }
  /// Keeps the event until flush(). Its time is set here.
  void emit(Event event);
  /// Whether all is handed over; if not, retry in the next turn.
  bool flush() { return events_.empty() || hub_.try_take(events_, lost_); }

 private:
  EventHub& hub_;
  Events events_;  // at most kEventsPendingMax
  EventCounts lost_{};
};

}  // namespace mc::traffic
