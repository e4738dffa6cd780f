// SPDX-License-Identifier: Apache-2.0
#include "proxy/dial.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "net/sockets.hpp"
#include "policy/choose.hpp"
#include "policy/limits.hpp"
#include "proxy/backend_preamble.hpp"
#include "proxy/limits.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

namespace {

// ---- one try

// Where to connect to; nothing if the backend's interface does not exist.
std::optional<ConnectAddress> address_of_backend(const traffic::ConnectionFacts& facts) {
  if (facts.rare != nullptr && facts.rare->backend.has_value()) {
    return facts.rare->backend->resolve();
  }
  return facts.backend_address;
}

// Binds the socket to the next of the configured addresses that has the backend's family and is
// there. Returns 0 or an errno. None of that family: the kernel chooses.
int bind_to_source(WorkerContext& context, const ConnectAddress& backend, const Fd& socket) {
  const std::vector<IpAddress>& sources = context.settings.sources;
  int error = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const IpAddress& source = sources[context.next_source++ % sources.size()];
    if (backend.is_unix() || source.is_v4() != (backend.family() == AF_INET)) continue;
    if (net::bind_source(socket.get(), source)) return 0;
    error = errno;
  }
  return error;
}

Reason open_socket(SessionParts& parts, const ConnectAddress& address, Fd& socket) {
  socket = net::open_backend_socket(address);
  int error = socket ? 0 : errno;
  if (error == 0) error = bind_to_source(parts.context, address, socket);
  parts.facts.dial_error = error;
  switch (error) {
    case 0:
      return Reason::kNone;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Reason::kNoResources;
    default:  // EAFNOSUPPORT: IPv6 is switched off. EADDRNOTAVAIL: no address to dial from is there
      return Reason::kDialFailed;
  }
}

// Why a connect to an address of this machine may have reached no backend:
// 1. Nothing listens there, and the kernel picks that port as the local one: TCP connects the
//    socket to itself (RFC 9293, section 3.5: a simultaneous open).
// 2. A wildcard listener of this process takes every address of the machine.
int led_back(const Settings& settings, const Fd& socket, const ConnectAddress& address) {
  if (address.is_unix()) return 0;
  const SocketAddress backend = address.ip_address();
  const bool is_of_listener =
      std::ranges::any_of(settings.listener_addresses,
                          [&](const SocketAddress& listener) { return listener.takes(backend); });
  if (!is_of_listener && backend.port() < kLocalPortMin) return 0;
  const SocketAddress local = net::bound_address(socket.get());
  if (local.ip() == backend.ip() && local.port() == backend.port()) return traffic::kDialledItself;
  if (!is_of_listener) return 0;
  // The local address shows it, unless it was bound or is the one of all loopback addresses.
  const bool says_nothing = !settings.sources.empty() || backend.ip().is_loopback();
  const bool is_here = local.ip() == backend.ip() || (says_nothing && net::leads_here(backend));
  return is_here ? traffic::kDialledListener : 0;
}

Reason reason_of_error(int error) {
  switch (error) {
    case 0:
      return Reason::kNone;
    case ECONNREFUSED:
    case traffic::kDialledItself:
    case traffic::kDialledListener:
      return Reason::kDialRefused;
    case ETIMEDOUT:
      return Reason::kDialTimeout;
    default:
      return Reason::kDialFailed;
  }
}

ring::Task<Reason> connect(SessionParts parts, Clock::duration timeout, BackendPreamble how,
                           Fd& socket) {
  auto& [context, facts, interruption, client] = parts;
  if (facts.pooled != nullptr) ++facts.pooled->tries;
  const auto address = address_of_backend(facts);
  if (!address.has_value()) {
    facts.dial_error = traffic::kNoInterface;
    co_return Reason::kDialFailed;
  }
  Deadline deadline(context.loop, interruption, timeout, Reason::kDialTimeout);
  int error = EADDRNOTAVAIL;
  // EADDRNOTAVAIL: every port of the address that is dialled from leads to this backend already.
  for (std::size_t left = std::max<std::size_t>(context.settings.sources.size(), 1);
       error == EADDRNOTAVAIL && left > 0; --left) {
    const Reason opened = open_socket(parts, *address, socket);
    if (opened != Reason::kNone) co_return opened;
    ring::Connect connect(context.loop, socket.get(), *address);
    error = -co_await interruption.reaches(connect);
    while (error == EAGAIN) {  // unix(7): the backend's queue is full, and nothing reports room
      ring::Sleep rest(context.loop, context.loop.now() + kUnixQueueRetry);
      co_await interruption.reaches(rest);
      ring::Connect again(context.loop, socket.get(), *address);
      error = -co_await interruption.reaches(again);
    }
  }
  if (error == 0) error = led_back(context.settings, socket, *address);
  if (error == 0 && has_preamble(how, facts)) {
    error = co_await send_preamble(parts, how, socket.get());
  }
  facts.dial_error = error;
  if (error == 0) deadline.met(context.loop);
  if (interruption.reason() != Reason::kNone) {
    facts.dial_error = interruption.reason() == Reason::kDialTimeout ? ETIMEDOUT : 0;
    co_return interruption.reason();
  }
  co_return reason_of_error(error);
}

// ---- the tries of one connection

// Whether the failure is the backend's. This process's want of ports or of a route is not.
bool is_of_backend(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENOENT:                   // no such Unix socket
    case traffic::kDialledItself:  // nothing listens there
    case traffic::kTlsDeclined:
      return true;
    default:
      return false;
  }
}

class Tries {
 public:
  explicit Tries(SessionParts& parts) : parts_(parts) {}

  /// Chooses the backend of the next try. A route without a pool has chosen already.
  Reason choose_next() {
    auto& [context, facts, interruption, client] = parts_;
    if (facts.pooled == nullptr) return Reason::kNone;
    const policy::LivePool* const pool = context.policy.get().pool(facts.pool());
    if (pool == nullptr) return none(Reason::kNoBackend, traffic::kNoPool);
    if (pool->backends().empty()) return none(Reason::kBackendUnresolved, traffic::kUnresolved);
    const policy::PoolSettings& settings = pool->spec().settings;
    preamble_ = {.version = settings.send_proxy, .tlvs = settings.send_proxy_tlvs};
    if (count_ == 0) {
      const auto ready = static_cast<std::int64_t>(pool->ready_count());
      retries_ = std::clamp(ready - 1, std::int64_t{0}, settings.retries);
      ends_at_ = context.loop.now() + settings.dial_budget;
    }
    for (int i = 0; i < kChoicesMax; ++i) {
      const auto place = policy::choose(*pool, input(*pool));
      if (!place.has_value()) {
        return place.error() == policy::NoChoice::kFull ? all_full() : none_eligible();
      }
      if (take(pool->backends()[*place])) return Reason::kNone;
    }
    return all_full();
  }

  /// What is sent to the backend of the next try.
  [[nodiscard]] BackendPreamble preamble() const { return preamble_; }

  /// How long the next try may take: a silent backend must leave time for the others.
  [[nodiscard]] Clock::duration time_for_next() const {
    const Clock::duration most = parts_.context.settings.connect_timeout;
    if (parts_.facts.pooled == nullptr) return most;
    const auto rest = ends_at_ - parts_.context.loop.now();
    return std::clamp(rest / (retries_ + 1), Clock::duration(1), most);
  }

  /// Whether another backend is to be tried after this failure.
  bool go_on(Reason failure) {
    auto& [context, facts, interruption, client] = parts_;
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
  Reason none(Reason why, int error) {
    const bool has_failed = last_failure_ != Reason::kNone;
    parts_.facts.dial_error = has_failed ? last_error_ : error;
    return has_failed ? last_failure_ : why;
  }
  Reason none_eligible() { return none(Reason::kNoBackend, traffic::kNoneEligible); }
  Reason all_full() { return none(Reason::kBackendFull, traffic::kAllFull); }

  void count_failure() {
    auto& [context, facts, interruption, client] = parts_;
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

  SessionParts& parts_;
  std::array<const policy::BackendState*, policy::kRetriesMax + 1> tried_{};
  std::size_t count_ = 0;
  std::int64_t retries_ = 0;  // that are left
  Instant ends_at_;
  BackendPreamble preamble_;
  Reason last_failure_ = Reason::kNone;
  int last_error_ = 0;
};

}  // namespace

ring::Task<std::expected<Fd, Reason>> dial(SessionParts parts) {
  auto& [context, facts, interruption, client] = parts;
  const Instant began = context.loop.now();
  Tries tries(parts);
  for (;;) {
    const Reason chosen = tries.choose_next();
    if (chosen != Reason::kNone) co_return std::unexpected(chosen);
    Fd socket;
    const Reason failure = co_await connect(parts, tries.time_for_next(), tries.preamble(), socket);
    if (failure == Reason::kNone) {
      if (facts.pooled != nullptr) facts.pooled->backend->dialled();
      context.reporter.dialled(facts, context.loop.now() - began);
      co_return std::move(socket);
    }
    if (!tries.go_on(failure)) co_return std::unexpected(failure);
  }
}

}  // namespace mc::proxy
