// SPDX-License-Identifier: Apache-2.0
#pragma once
// The only place that knows which counters, events and log lines a connection leaves behind. One
// for each worker; its thread only.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "net/socket_address.hpp"
#include "traffic/event_hub.hpp"
#include "traffic/facts.hpp"
#include "traffic/line_limiter.hpp"
#include "traffic/reason.hpp"
#include "traffic/worker_counters.hpp"

namespace mc::traffic {

class Reporter {
 public:
  /// All references outlive it.
  Reporter(const std::vector<std::string>& listener_names, Counters& counters, EventSource& events,
           LineLimiter& limiter, Log& log)
      : listener_names_(listener_names),
        counters_(counters),
        events_(events),
        limiter_(limiter),
        log_(log) {}

  // ---- a client that has come

  /// The kernel has handed over a connection.
  void taken(std::size_t listener) { counters_.per_listener[listener].accepted.add(); }
  /// The client reset it in the backlog, so its address is unknown.
  void lost(std::size_t listener);
  /// It was closed before anything was read: by the firewall, or at a limit.
  void refused(std::size_t listener, const SocketAddress& client, Reason reason, Instant now);

  // ---- a connection that has facts, from opened() to closed()

  void opened(const ConnectionFacts& facts);
  /// The peer's PROXY header says who the client is, and which name it asked the peer for, if any.
  void conveyed(const ConnectionFacts& facts, std::string_view authority);
  /// The name in the hello is no host name.
  void name_refused(const ConnectionFacts& facts, std::span<const std::uint8_t> name);
  /// The hello's name has a route.
  void routed(const ConnectionFacts& facts, Instant now);
  /// The backend, which was chosen from a pool, was taken out after its dials failed.
  void ejected(const policy::BackendState& backend, std::chrono::milliseconds time,
               const std::string& why);
  /// The backend has accepted, `duration` after the dial began.
  void dialled(const ConnectionFacts& facts, Clock::duration duration);
  /// Both sides are connected.
  void connected(const ConnectionFacts& facts, Instant now);
  /// The totals moved so far. Updates the facts.
  void moved(ConnectionFacts& facts, std::uint64_t bytes_up, std::uint64_t bytes_down, Instant now);
  /// No more bytes will be moved.
  void relayed(const ConnectionFacts& facts, Instant now);
  /// The end, of every connection that was opened.
  void ended(const ConnectionFacts& facts, Reason reason, Instant now);
  /// It uses no more resources of this process.
  void closed(const ConnectionFacts& facts) { of(facts).active.subtract(); }

 private:
  [[nodiscard]] ListenerCounters& of(const ConnectionFacts& facts) {
    return counters_.per_listener[facts.listener];
  }
  [[nodiscard]] const std::string& listener(const ConnectionFacts& facts) const {
    return listener_names_[facts.listener];
  }
  void count_end(const ConnectionFacts& facts, Reason reason);
  void log_end(const ConnectionFacts& facts, Reason reason, Instant now);
  void log_refusal(const ConnectionFacts& facts, Reason reason, LogLevel level,
                   Clock::duration duration);
  void log_dial_failure(const ConnectionFacts& facts, Reason reason, Clock::duration duration);

  const std::vector<std::string>& listener_names_;
  Counters& counters_;
  EventSource& events_;
  LineLimiter& limiter_;
  Log& log_;
};

}  // namespace mc::traffic
