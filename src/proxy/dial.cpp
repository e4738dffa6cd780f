// SPDX-License-Identifier: Apache-2.0
#include "proxy/dial.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "net/sockets.hpp"
#include "policy/choose.hpp"
#include "policy/limits.hpp"
#include "proxy/limits.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

namespace {

// ---- one try

Reason open_socket(traffic::ConnectionFacts& facts, Fd& socket) {
  if (facts.unresolved != nullptr) {
    facts.dial_error = traffic::kNoInterface;
    return Reason::kDialFailed;
  }
  socket = net::open_backend_socket(facts.backend_address);
  if (socket) return Reason::kNone;
  facts.dial_error = errno;
  switch (facts.dial_error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Reason::kNoResources;
    default:  // EAFNOSUPPORT: IPv6 is switched off
      return Reason::kDialFailed;
  }
}

// Why a connect to an address of this machine may have reached no backend:
// 1. Nothing listens there, and the kernel picks that port as the local one: TCP connects the
//    socket to itself (RFC 9293, section 3.5: a simultaneous open).
// 2. A wildcard listener of this process takes every address of the machine.
int led_back(const Settings& settings, const Fd& socket, const SocketAddress& backend) {
  const bool is_of_listener =
      std::ranges::any_of(settings.listener_addresses,
                          [&](const SocketAddress& listener) { return listener.takes(backend); });
  if (!is_of_listener && backend.port() < kLocalPortMin) return 0;
  const SocketAddress local = net::bound_address(socket.get());
  if (local.ip() != backend.ip()) return 0;
  if (local.port() == backend.port()) return traffic::kDialledItself;
  return is_of_listener ? traffic::kDialledListener : 0;
}

Reason reason_of_error(int error) {
  switch (error) {
    case 0:
      return Reason::kNone;
    case ECONNREFUSED:
      return Reason::kDialRefused;
    case ETIMEDOUT:
      return Reason::kDialTimeout;
    default:
      return Reason::kDialFailed;
  }
}

ring::Task<Reason> connect(DialParts parts, Clock::duration timeout, Fd& socket) {
  auto& [context, facts, interruption] = parts;
  if (facts.pooled != nullptr) ++facts.pooled->tries;
  facts.dial_error = 0;
  const Reason opened = open_socket(facts, socket);
  if (opened != Reason::kNone) co_return opened;
  Deadline deadline(context.loop, interruption, timeout, Reason::kDialTimeout);
  ring::Connect connect(context.loop, socket.get(), facts.backend_address);
  const int result = co_await interruption.reaches(connect);
  if (result == 0) {
    deadline.met(context.loop);
    facts.dial_error = led_back(context.settings, socket, facts.backend_address);
    if (facts.dial_error != 0) co_return interruption.reason_or(Reason::kDialRefused);
  }
  if (interruption.reason() != Reason::kNone) {
    facts.dial_error = interruption.reason() == Reason::kDialTimeout ? ETIMEDOUT : 0;
    co_return interruption.reason();
  }
  facts.dial_error = -result;
  co_return reason_of_error(-result);
}

// ---- the tries of one connection

// Whether the failure is the backend's. This process's want of ports or of a route is not.
bool is_of_backend(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case traffic::kDialledItself:  // nothing listens there
      return true;
    default:
      return false;
  }
}

class Tries {
 public:
  explicit Tries(DialParts& parts) : parts_(parts) {}

  /// Chooses the backend of the next try. A route without a pool has chosen already.
  Reason choose_next() {
    auto& [context, facts, interruption] = parts_;
    if (facts.pooled == nullptr) return Reason::kNone;
    const policy::LivePool* const pool = context.policy.get().pool(facts.pool());
    if (pool == nullptr) return none(policy::NoChoice::kNone);  // it was removed meanwhile
    if (count_ == 0) {
      const auto ready = static_cast<std::int64_t>(pool->ready_count());
      retries_ = std::clamp(ready - 1, std::int64_t{0}, pool->spec().settings.retries);
      ends_at_ = context.loop.now() + pool->spec().settings.dial_budget;
    }
    for (int i = 0; i < kChoicesMax; ++i) {
      const auto place = policy::choose(*pool, input(*pool));
      if (!place.has_value()) return none(place.error());
      if (take(pool->backends()[*place])) return Reason::kNone;
    }
    return none(policy::NoChoice::kFull);
  }

  /// How long the next try may take: a silent backend must leave time for the others.
  [[nodiscard]] Clock::duration time_for_next() const {
    const Clock::duration most = parts_.context.settings.connect_timeout;
    if (parts_.facts.pooled == nullptr) return most;
    const auto rest = ends_at_ - parts_.context.loop.now();
    return std::clamp(rest / (retries_ + 1), Clock::duration(1), most);
  }

  /// Whether another backend is to be tried after this failure.
  bool go_on(Reason failure) {
    auto& [context, facts, interruption] = parts_;
    if (facts.pooled == nullptr || interruption.is_final()) return false;
    if (failure == Reason::kNoResources) return false;
    count_failure();
    last_failure_ = failure;
    last_error_ = facts.dial_error;
    if (retries_ == 0 || context.loop.now() >= ends_at_) return false;
    --retries_;
    interruption.forgive_deadline();
    return true;
  }

 private:
  // Choices of one try: each one after the first follows a backend that another worker has just
  // filled.
  static constexpr int kChoicesMax = 16;

  policy::ChoiceInput input(const policy::LivePool& pool) const {
    WorkerContext& context = parts_.context;
    const bool takes_turns = pool.spec().settings.balance == policy::Balance::kRoundRobin;
    return {.client = parts_.facts.client().ip(),
            .name = parts_.facts.name,
            .turn = takes_turns ? pool.next_turn() : 0,
            .random = context.random.next(),
            .now = context.loop.now(),
            .tried = std::span(tried_).first(count_)};
  }

  // Counts the connection to the backend; false: it is full.
  bool take(const policy::LiveBackend& backend) {
    policy::ConnectionCounts& counts = backend.state->counts;
    const auto most = static_cast<std::uint64_t>(backend.spec.max_connections);
    if (counts.active.fetch_add(1, std::memory_order_relaxed) >= most && most != 0) {
      counts.active.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    counts.connections.fetch_add(1, std::memory_order_relaxed);
    tried_[count_++] = backend.state.get();
    traffic::ConnectionFacts& facts = parts_.facts;
    if (const auto& before = facts.pooled->backend) {
      before->counts.active.fetch_sub(1, std::memory_order_relaxed);
    }
    facts.take_backend(backend.state);
    return true;
  }

  // The end of the tries: what has failed before says more than that there is no other backend.
  Reason none(policy::NoChoice why) {
    const bool is_full = why == policy::NoChoice::kFull;
    if (last_failure_ != Reason::kNone) {
      parts_.facts.dial_error = last_error_;
      return last_failure_;
    }
    parts_.facts.dial_error = is_full ? traffic::kAllFull : traffic::kNoneEligible;
    return is_full ? Reason::kBackendFull : Reason::kNoBackend;
  }

  void count_failure() {
    auto& [context, facts, interruption] = parts_;
    policy::BackendState& backend = *facts.pooled->backend;
    backend.counts.dial_failures.fetch_add(1, std::memory_order_relaxed);
    if (!is_of_backend(facts.dial_error) || !backend.dial_failed()) return;
    if (backend.is_ejected(context.loop.now())) return;  // it was tried because all are dead
    const policy::LivePool* const pool = context.policy.get().pool(backend.pool());
    if (pool == nullptr) return;
    const std::string why = traffic::dial_error_text(facts.dial_error, backend.address());
    if (const auto time = pool->eject(backend, why, context.loop.now())) {
      context.reporter.ejected(backend, *time, why);
    }
  }

  DialParts& parts_;
  std::array<const policy::BackendState*, policy::kRetriesMax + 1> tried_{};
  std::size_t count_ = 0;
  std::int64_t retries_ = 0;  // that are left
  Instant ends_at_;
  Reason last_failure_ = Reason::kNone;
  int last_error_ = 0;
};

}  // namespace

ring::Task<std::expected<Fd, Reason>> dial(DialParts parts) {
  auto& [context, facts, interruption] = parts;
  const Instant began = context.loop.now();
  Tries tries(parts);
  for (;;) {
    const Reason chosen = tries.choose_next();
    if (chosen != Reason::kNone) co_return std::unexpected(chosen);
    Fd socket;
    const Reason failure = co_await connect(parts, tries.time_for_next(), socket);
    if (failure == Reason::kNone) {
      if (facts.pooled != nullptr) facts.pooled->backend->dialled();
      context.reporter.dialled(facts, context.loop.now() - began);
      co_return std::move(socket);
    }
    if (!tries.go_on(failure)) co_return std::unexpected(failure);
  }
}

}  // namespace mc::proxy
