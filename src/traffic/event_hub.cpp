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

EventHub::Watch::Watch(EventHub& hub, std::vector<EventKind> kinds, Time since) : hub_(hub) {
  const std::lock_guard lock(hub_.lock_);
  for (const EventKind kind : kinds) {
    Place place{.kind = kind};
    const Kept& so_far = kept(place);
    place.next = so_far.begin + so_far.slots.size();
    if (is_kept_always(kind)) {
      const auto first = std::ranges::find_if(
          so_far.slots, [since](const Kept::Slot& slot) { return slot.event->time >= since; });
      place.next = so_far.begin + static_cast<std::size_t>(first - so_far.slots.begin());
    }
    place.lost = so_far.lost;
    places_.push_back(place);
    hub_.watchers_[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
  }
}

EventHub::Watch::~Watch() {
  const std::lock_guard lock(hub_.lock_);
  for (const Place& place : places_) {
    auto& watchers = hub_.watchers_[static_cast<std::size_t>(place.kind)];
    if (watchers.fetch_sub(1, std::memory_order_relaxed) > 1) continue;
    if (is_kept_always(place.kind)) continue;
    Kept& left = kept(place);
    left.begin += left.slots.size();
    left.slots = {};
  }
}

// The place whose next event is the next of all.
EventHub::Watch::Place* EventHub::Watch::earliest() {
  Place* first = nullptr;
  std::uint64_t first_number = 0;
  for (Place& place : places_) {
    const Kept& of_kind = kept(place);
    const std::size_t slot = place.next - of_kind.begin;
    if (slot == of_kind.slots.size()) continue;
    const std::uint64_t number = of_kind.slots[slot].number;
    if (first != nullptr && number > first_number) continue;
    first = &place;
    first_number = number;
  }
  return first;
}

EventHub::Watch::Seen EventHub::Watch::read(std::size_t most) {
  Seen seen;
  seen.events.reserve(most);
  const std::lock_guard lock(hub_.lock_);
  for (Place& place : places_) {
    const Kept& of_kind = kept(place);
    std::uint64_t& lost = seen.lost[static_cast<std::size_t>(place.kind)];
    lost = of_kind.lost - std::exchange(place.lost, of_kind.lost);
    if (place.next >= of_kind.begin) continue;
    lost += of_kind.begin - std::exchange(place.next, of_kind.begin);
  }
  while (seen.events.size() < most) {
    Place* const place = earliest();
    if (place == nullptr) break;
    const Kept& of_kind = kept(*place);
    seen.events.push_back(of_kind.slots[place->next - of_kind.begin].event);
    ++place->next;
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
