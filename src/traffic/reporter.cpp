// SPDX-License-Identifier: Apache-2.0
#include "traffic/reporter.hpp"

#include "base/quote.hpp"

namespace mc::traffic {

namespace {

EventKind event_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kClosed:
      return EventKind::kClosed;
    case Outcome::kRefused:
      return EventKind::kRefused;
    case Outcome::kDialFailed:
      break;
  }
  return EventKind::kDialFailed;
}

// Most clients that leave before their first byte are health checks, which only connect: a line for
// each would hide the others. Like all, they are counted and make events.
LogLevel level_of(const ConnectionFacts& facts, Reason reason, Outcome outcome) {
  if (outcome == Outcome::kDialFailed) return LogLevel::kWarn;
  const bool has_left = reason == Reason::kClientClosed || reason == Reason::kClientReset ||
                        reason == Reason::kProxyLocal;
  return has_left && !facts.has_spoken ? LogLevel::kDebug : LogLevel::kInfo;
}

void add_end(const ConnectionFacts& facts, policy::ConnectionCounts& counts) {
  counts.bytes_up.fetch_add(facts.bytes_up, std::memory_order_relaxed);
  counts.bytes_down.fetch_add(facts.bytes_down, std::memory_order_relaxed);
  counts.active.fetch_sub(1, std::memory_order_relaxed);
}

// Empty: none was chosen.
// A redirect needs no backend, so a client can cause as many as it likes.
bool is_limited(Reason reason, Outcome outcome) {
  return outcome != Outcome::kClosed || reason == Reason::kRedirected;
}

std::string backend_of(const ConnectionFacts& facts) {
  const auto backend = facts.backend();
  return backend.has_value() ? backend->to_string() : std::string();
}

// Only of routes that lead to a pool.
LogField pool_of(const ConnectionFacts& facts) {
  return {facts.pooled != nullptr ? "pool" : LogField::kUnwritten, facts.pool()};
}
LogField tries_of(const ConnectionFacts& facts) {
  if (facts.pooled == nullptr) return {LogField::kUnwritten, 0};
  return {"tries", facts.pooled->tries};
}

// Empty unless a proxy in front of this one names the client.
std::string via_of(const ConnectionFacts& facts) {
  return facts.is_conveyed() ? facts.peer.to_string() : std::string();
}

std::string_view complaint_of(const ConnectionFacts& facts) {
  return facts.rare != nullptr ? facts.rare->complaint : std::string_view();
}

LogField unless_empty(std::string_view key, std::string_view value) {
  return {value.empty() ? LogField::kUnwritten : key, value};
}

std::string_view ech_of(const ConnectionFacts& facts) {
  return facts.ech_offered ? "offered" : "none";
}

}  // namespace

// ---- a client that has come

void Reporter::lost(std::size_t listener) {
  counters_.per_listener[listener].of(Reason::kClientReset).add();
}

void Reporter::refused(std::size_t listener, const SocketAddress& client, Reason reason,
                       Instant now) {
  counters_.per_listener[listener].of(reason).add();
  if (events_.wants(EventKind::kRefused)) {
    events_.emit({.kind = EventKind::kRefused,
                  .connection = {.listener = listener, .client = client},
                  .reason = reason});
  }
  if (!log_.enabled(LogLevel::kInfo) || !limiter_.admits(listener, reason, now)) return;
  log_.info(line_of(Outcome::kRefused), {{"listener", listener_names_[listener]},
                                         {"client", client.to_string()},
                                         {"reason", to_string(reason)}});
}

// ---- an open connection

void Reporter::opened(const ConnectionFacts& facts) {
  of(facts).active.add();
  if (!log_.enabled(LogLevel::kDebug)) return;
  log_.debug("connection accepted",
             {{"listener", listener(facts)}, {"client", facts.client().to_string()}});
}

// The authority may be any bytes. No route follows it: the hello's own name decides.
void Reporter::conveyed(const ConnectionFacts& facts, std::string_view authority) {
  if (!log_.enabled(LogLevel::kDebug)) return;
  log_.debug("PROXY header",
             {{"listener", listener(facts)},
              {"client", facts.client().to_string()},
              {"via", facts.peer.to_string()},
              unless_empty("authority", authority.empty() ? std::string() : quote(authority))});
}

// On a line of its own: the field `sni` holds host names only.
void Reporter::name_refused(const ConnectionFacts& facts, std::span<const std::uint8_t> name) {
  if (!log_.enabled(LogLevel::kDebug)) return;
  log_.debug("name refused",
             {{"listener", listener(facts)},
              {"client", facts.client().to_string()},
              {"name", quote({reinterpret_cast<const char*>(name.data()), name.size()})}});
}

void Reporter::routed(const ConnectionFacts& facts, Instant now) {
  if (facts.route_counts != nullptr) {
    facts.route_counts->connections.fetch_add(1, std::memory_order_relaxed);
    facts.route_counts->active.fetch_add(1, std::memory_order_relaxed);
  }
  of(facts).hello_ms.observe(now - facts.accepted_at);
  if (!log_.enabled(LogLevel::kDebug)) return;
  log_.debug("hello decided", {{"listener", listener(facts)},
                               {"client", facts.client().to_string()},
                               {"sni", facts.name},
                               {"ech", ech_of(facts)},
                               {"route", facts.route()},
                               pool_of(facts),
                               {"backend", backend_of(facts)},
                               {"duration", now - facts.accepted_at}});
}

void Reporter::ejected(const policy::BackendState& backend, std::chrono::milliseconds time,
                       const std::string& why) {
  if (events_.wants(EventKind::kBackendHealth)) {
    events_.emit({.kind = EventKind::kBackendHealth,
                  .connection = {.pool = backend.pool(), .backend = backend.address()},
                  .health = backend.health(),
                  .is_ejected = true,
                  .why = why});
  }
  log_.warn("backend ejected", {{"pool", backend.pool()},
                                {"backend", backend.address().to_string()},
                                {"error", why},
                                {"for", time}});
}

void Reporter::dialled(const ConnectionFacts& facts, Clock::duration duration) {
  of(facts).dial_ms.observe(duration);
  if (!log_.enabled(LogLevel::kDebug)) return;
  log_.debug("backend connected", {{"listener", listener(facts)},
                                   {"client", facts.client().to_string()},
                                   {"backend", backend_of(facts)},
                                   {"duration", duration}});
}

void Reporter::connected(const ConnectionFacts& facts, Instant now) {
  if (!events_.wants(EventKind::kOpened)) return;
  events_.emit({.kind = EventKind::kOpened, .connection = describe(facts, now)});
}

void Reporter::moved(ConnectionFacts& facts, std::uint64_t bytes_up, std::uint64_t bytes_down,
                     Instant now) {
  if (bytes_up == facts.bytes_up && bytes_down == facts.bytes_down) return;
  of(facts).bytes_up.add(bytes_up - facts.bytes_up);
  of(facts).bytes_down.add(bytes_down - facts.bytes_down);
  facts.bytes_up = bytes_up;
  facts.bytes_down = bytes_down;
  facts.moved_at = now;
}

void Reporter::relayed(const ConnectionFacts& facts, Instant now) {
  of(facts).session_ms.observe(now - facts.accepted_at);
  of(facts).session_bytes_up.observe(facts.bytes_up);
  of(facts).session_bytes_down.observe(facts.bytes_down);
}

// ---- its end

void Reporter::ended(const ConnectionFacts& facts, Reason reason, Instant now) {
  count_end(facts, reason);
  const EventKind kind = event_of(outcome_of(reason, facts.has_way()));
  if (events_.wants(kind)) {
    events_.emit({.kind = kind,
                  .connection = describe(facts, now),
                  .reason = reason,
                  .dial_error = facts.dial_error});
  }
  log_end(facts, reason, now);
}

void Reporter::count_end(const ConnectionFacts& facts, Reason reason) {
  of(facts).of(reason).add();
  if (facts.route_counts != nullptr) {
    if (info(reason).outcome == Outcome::kDialFailed) {
      facts.route_counts->dial_failures.fetch_add(1, std::memory_order_relaxed);
    }
    add_end(facts, *facts.route_counts);
  }
  if (facts.pooled != nullptr && facts.pooled->backend != nullptr) {
    add_end(facts, facts.pooled->backend->counts);
  }
}

void Reporter::log_end(const ConnectionFacts& facts, Reason reason, Instant now) {
  const Outcome outcome = outcome_of(reason, facts.has_way());
  const LogLevel level = level_of(facts, reason, outcome);
  if (!log_.enabled(level)) return;
  if (is_limited(reason, outcome) && !limiter_.admits(facts.listener, reason, now)) return;
  const Clock::duration duration = now - facts.accepted_at;
  if (outcome == Outcome::kRefused) return log_refusal(facts, reason, level, duration);
  if (outcome == Outcome::kDialFailed) return log_dial_failure(facts, reason, duration);
  log_.info(line_of(outcome), {{"listener", listener(facts)},
                               {"client", facts.client().to_string()},
                               unless_empty("via", via_of(facts)),
                               {"sni", facts.name},
                               {"ech", ech_of(facts)},
                               pool_of(facts),
                               {"backend", backend_of(facts)},
                               tries_of(facts),
                               {"route", facts.route()},
                               {"bytes_up", facts.bytes_up},
                               {"bytes_down", facts.bytes_down},
                               {"reason", to_string(reason)},
                               {"duration", duration}});
}

void Reporter::log_refusal(const ConnectionFacts& facts, Reason reason, LogLevel level,
                           Clock::duration duration) {
  const std::string client = facts.client().to_string();
  const auto write = [&](Log::Fields fields) {
    const std::string_view line = line_of(Outcome::kRefused);
    level == LogLevel::kDebug ? log_.debug(line, fields) : log_.info(line, fields);
  };
  write({{"listener", listener(facts)},
         {"client", client},
         unless_empty("via", via_of(facts)),
         {"sni", facts.name},
         {"ech", ech_of(facts)},
         unless_empty("error", complaint_of(facts)),
         {"reason", to_string(reason)},
         {"duration", duration}});
}

void Reporter::log_dial_failure(const ConnectionFacts& facts, Reason reason,
                                Clock::duration duration) {
  const BackendAddress backend = facts.backend().value_or(BackendAddress());
  log_.warn(line_of(Outcome::kDialFailed), {{"listener", listener(facts)},
                                            {"client", facts.client().to_string()},
                                            unless_empty("via", via_of(facts)),
                                            {"sni", facts.name},
                                            pool_of(facts),
                                            {"backend", backend_of(facts)},
                                            tries_of(facts),
                                            {"route", facts.route()},
                                            {"error", dial_error_text(facts.dial_error, backend)},
                                            {"reason", to_string(reason)},
                                            {"duration", duration}});
}

}  // namespace mc::traffic
