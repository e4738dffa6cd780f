// SPDX-License-Identifier: Apache-2.0
#include "traffic/event_hub.hpp"

#include <algorithm>
#include <utility>

#include "traffic/limits.hpp"

namespace mc::traffic {

bool EventHub::try_take(Events& events, EventCounts& lost) {
  const std::unique_lock lock(lock_, std::try_to_lock);
  if (!lock.owns_lock()) return false;
  for (auto& event : events) {
    const EventKind kind = event->kind;
    if (!wants(kind)) continue;  // the last watcher left meanwhile
    Kept& kept = kept_[static_cast<std::size_t>(kind)];
    if (kept.slots.size() == kEventsKept) {
      kept.slots.pop_front();
      ++kept.begin;
    }
    kept.slots.push_back({taken_++, std::move(event)});
  }
  events.clear();
  for (std::size_t kind = 0; kind < kEventKinds; ++kind) {
    kept_[kind].lost += std::exchange(lost[kind], 0);
  }
  return true;
}

EventHub::Subscription::Subscription(EventHub& hub, std::vector<EventKind> kinds, Time since)
    : hub_(hub) {
  const std::lock_guard lock(hub_.lock_);
  for (const EventKind kind : kinds) {
    Cursor cursor{.kind = kind};
    const Kept& so_far = kept(cursor);
    cursor.next = so_far.begin + so_far.slots.size();
    if (is_kept_always(kind)) {
      const auto first = std::ranges::find_if(
          so_far.slots, [since](const Kept::Slot& slot) { return slot.event->time >= since; });
      cursor.next = so_far.begin + static_cast<std::size_t>(first - so_far.slots.begin());
    }
    cursor.lost = so_far.lost;
    cursors_.push_back(cursor);
    hub_.watchers_[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
  }
}

EventHub::Subscription::~Subscription() {
  const std::lock_guard lock(hub_.lock_);
  for (const Cursor& cursor : cursors_) {
    auto& watchers = hub_.watchers_[static_cast<std::size_t>(cursor.kind)];
    if (watchers.fetch_sub(1, std::memory_order_relaxed) > 1) continue;
    if (is_kept_always(cursor.kind)) continue;
    Kept& left = kept(cursor);
    left.begin += left.slots.size();
    left.slots = {};
  }
}

// The cursor with the earliest next event.
EventHub::Subscription::Cursor* EventHub::Subscription::earliest() {
  Cursor* first = nullptr;
  std::uint64_t first_number = 0;
  for (Cursor& cursor : cursors_) {
    const Kept& of_kind = kept(cursor);
    const std::size_t slot = cursor.next - of_kind.begin;
    if (slot == of_kind.slots.size()) continue;
    const std::uint64_t number = of_kind.slots[slot].number;
    if (first != nullptr && number > first_number) continue;
    first = &cursor;
    first_number = number;
  }
  return first;
}

EventHub::Subscription::Seen EventHub::Subscription::read(std::size_t most) {
  Seen seen;
  seen.events.reserve(most);
  const std::lock_guard lock(hub_.lock_);
  for (Cursor& cursor : cursors_) {
    const Kept& of_kind = kept(cursor);
    std::uint64_t& lost = seen.lost[static_cast<std::size_t>(cursor.kind)];
    lost = of_kind.lost - std::exchange(cursor.lost, of_kind.lost);
    if (cursor.next >= of_kind.begin) continue;
    lost += of_kind.begin - std::exchange(cursor.next, of_kind.begin);
  }
  while (seen.events.size() < most) {
    Cursor* const cursor = earliest();
    if (cursor == nullptr) break;
    const Kept& of_kind = kept(*cursor);
    seen.events.push_back(of_kind.slots[cursor->next - of_kind.begin].event);
    ++cursor->next;
  }
  return seen;
}

void EventSource::emit(Event event) {
  if (events_.size() == kEventsPendingMax) {
    ++lost_[static_cast<std::size_t>(event.kind)];
    return;
  }
  event.time = std::chrono::system_clock::now();
  events_.push_back(std::make_shared<const Event>(std::move(event)));
}

}  // namespace mc::traffic
