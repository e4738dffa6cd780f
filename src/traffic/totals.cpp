// SPDX-License-Identifier: Apache-2.0
#include "traffic/totals.hpp"

namespace mc::traffic {

namespace {

void add(const ListenerCounters& counters, ListenerTotals& listener, Totals& all) {
  const auto add_to_both = [](std::uint64_t value, std::uint64_t& one, std::uint64_t& other) {
    one += value;
    other += value;
  };
  add_to_both(counters.active.value(), listener.active, all.active);
  add_to_both(counters.accepted.value(), listener.accepted, all.accepted);
  add_to_both(counters.bytes_up.value(), listener.bytes_up, all.bytes_up);
  add_to_both(counters.bytes_down.value(), listener.bytes_down, all.bytes_down);
  for (std::size_t i = 0; i < kReasons; ++i) {
    add_to_both(counters.ended[i].value(), listener.ended[i], all.ended[i]);
  }
  counters.hello_ms.add_to(listener.hello_ms);
  counters.dial_ms.add_to(listener.dial_ms);
  counters.session_ms.add_to(listener.session_ms);
  counters.session_bytes_up.add_to(listener.session_bytes_up);
  counters.session_bytes_down.add_to(listener.session_bytes_down);
}

}  // namespace

void Totals::add(const Counters& counters) {
  listeners.resize(counters.per_listener.size());
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    traffic::add(counters.per_listener[i], listeners[i], *this);
  }
  pipes_exhausted += counters.pipes_exhausted.value();
  accept_paused += counters.accept_paused.value();
  listeners_paused += counters.listeners_paused.value();
  lines_suppressed += counters.lines_suppressed.value();
}

}  // namespace mc::traffic
