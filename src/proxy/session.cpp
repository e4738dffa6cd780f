// SPDX-License-Identifier: Apache-2.0
#include "proxy/session.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/quote.hpp"
#include "proxy/limits.hpp"
#include "proxy/sockets.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

ring::Detached serve(WorkerContext& context, std::size_t listener, Fd client, SocketAddress peer) {
  Session session(context, listener, std::move(client), peer);
  Reason reason = co_await session.read_hello();
  if (reason == Reason::kNone) reason = co_await session.dial();
  if (reason == Reason::kNone) reason = co_await session.relay();
  session.close(reason);
  session.report(reason);
}

Session::Session(WorkerContext& context, std::size_t listener, Fd client, const SocketAddress& peer)
    : context_(context),
      number_(++context.last_id.number),
      started_(context.loop.now()),
      active_(started_),
      client_(std::move(client)),
      peer_(peer),
      listener_(static_cast<std::uint32_t>(listener)) {
  context_.sessions.add(*this);
  context_.connections.fetch_add(1, std::memory_order_relaxed);
  counters().active.add();
  if (!context_.log.enabled(LogLevel::kDebug)) return;
  context_.log.debug(
      "connection accepted",
      {{"listener", context_.settings.listener_names[listener_]}, {"client", peer_.to_string()}});
}

Session::~Session() {
  counters().active.subtract();
  context_.connections.fetch_sub(1, std::memory_order_relaxed);
  context_.sessions.remove(*this);
}

// ---- deadlines and interruption

template <class Operation>
auto Session::interruptible(Operation& operation) {
  struct Interruptible {
    Session& session;
    Operation& operation;

    bool await_ready() { return session.stop_reason_ != Reason::kNone || operation.await_ready(); }
    void await_suspend(std::coroutine_handle<> coroutine) {
      session.waiting_for_ = &operation;
      operation.await_suspend(coroutine);
    }
    auto await_resume() {
      session.waiting_for_ = nullptr;
      return operation.await_resume();
    }
  };
  return Interruptible{*this, operation};
}

void Session::interrupt(Reason reason) {
  if (stop_reason_ == Reason::kNone || stop_reason_ == deadline_reason_) stop_reason_ = reason;
  if (waiting_for_ != nullptr) waiting_for_->interrupt();
}

Reason Session::stopped_or(Reason otherwise) const {
  return stop_reason_ != Reason::kNone ? stop_reason_ : otherwise;
}

void Session::set_deadline(std::chrono::milliseconds from_now, Reason reason) {
  deadline_reason_ = reason;
  context_.loop.timers().arm(*this, context_.loop.now() + from_now);
}

void Session::clear_deadline() {
  context_.loop.timers().disarm(*this);
  if (stop_reason_ == deadline_reason_) stop_reason_ = Reason::kNone;
}

void Session::expired() {
  if (std::exchange(look_planned_, false)) {
    look_due_ = true;
    if (waiting_for_ != nullptr) waiting_for_->interrupt();
    if (deadline_reason_ == Reason::kNone) return;
  }
  if (deadline_reason_ == Reason::kIdleTimeout && !has_been_idle()) return;
  interrupt(deadline_reason_);
}

void Session::look_again_soon() {
  if (std::exchange(look_planned_, true)) return;
  const Instant when = context_.loop.now() + kUrgentRecheck;
  if (!armed() || expiry() > when) context_.loop.timers().arm(*this, when);
}

// Moving bytes does not touch the timer; it looks for itself how long nothing has moved. A slow
// reader can make progress without a byte moved here, out of the kernel's send queue: that is
// sampled in the middle of the time.
bool Session::has_been_idle() {
  const auto timeout = context_.settings.idle_timeout;
  const Instant now = context_.loop.now();
  ring::TimerWheel& timers = context_.loop.timers();
  if (now < active_ + timeout / 2) {
    timers.arm(*this, active_ + timeout / 2);
    return false;
  }
  const std::uint32_t queued = send_queue_bytes(client_.get()) + send_queue_bytes(backend_.get());
  if (now < active_ + timeout) {
    queued_ = queued;
    timers.arm(*this, active_ + timeout);
    return false;
  }
  if (queued == queued_) return true;
  active_ = now;
  timers.arm(*this, active_ + timeout / 2);
  return false;
}

// ---- peek and decide

ring::Task<Reason> Session::read_hello() {
  set_deadline(context_.settings.hello_timeout, Reason::kHelloTimeout);
  ring::PeekMode mode = ring::PeekMode::kAtOnce;
  std::size_t seen = 0;
  for (;;) {
    Judgement judgement;
    bool grown = false;
    {
      ring::Peek peek(context_.loop, client_.get(), context_.peek_buffers, mode);
      const int peeked = co_await interruptible(peek);
      if (peeked == -ENOBUFS) {  // the buffers went to others in this turn, and come back in it
        co_await context_.loop.yield();
        continue;
      }
      if (peeked == 0) co_return stopped_or(Reason::kClientClosed);
      if (peeked < 0) co_return stopped_or(Reason::kClientReset);
      spoken_ = true;
      grown = peek.bytes().size() > seen;
      seen = peek.bytes().size();
      judgement = judge(peek.bytes());
    }
    if (const Reason* const verdict = std::get_if<Reason>(&judgement)) {
      if (mode == ring::PeekMode::kWhenReadable) set_receive_low_water(client_.get(), 1);
      clear_deadline();
      co_return *verdict != Reason::kNone ? *verdict : stopped_or(Reason::kNone);
    }
    if (stop_reason_ != Reason::kNone) co_return stop_reason_;
    if (!grown) {
      const Reason stalled = why_stalled();
      if (stalled != Reason::kNone) co_return stalled;
      ring::Sleep rest(context_.loop, context_.loop.now() + kHelloRetry);
      co_await interruptible(rest);
    }
    set_receive_low_water(client_.get(), std::get<tls::Incomplete>(judgement).needed);
    mode = ring::PeekMode::kWhenReadable;
  }
}

Session::Judgement Session::judge(std::span<const std::uint8_t> bytes) {
  const tls::ParseResult result = context_.parser.parse(bytes);
  if (const auto* const incomplete = std::get_if<tls::Incomplete>(&result)) return *incomplete;
  if (const auto* const reject = std::get_if<tls::Reject>(&result)) {
    if (*reject == tls::Reject::kNameInvalid) log_refused_name();
    return reason_of(*reject);
  }
  return decide(std::get<tls::ClientHello>(result));
}

// On a line of its own: in `sni` stand host names alone.
void Session::log_refused_name() const {
  if (!context_.log.enabled(LogLevel::kDebug)) return;
  const auto name = context_.parser.refused_name();
  context_.log.debug("name refused",
                     {{"listener", context_.settings.listener_names[listener_]},
                      {"client", peer_.to_string()},
                      {"name", quote({reinterpret_cast<const char*>(name.data()), name.size()})}});
}

Reason Session::decide(const tls::ClientHello& hello) {
  name_ = hello.server_name.view();
  ech_offered_ = hello.ech_offered;
  const auto match = context_.policy.get().route(listener_, name_);
  if (!match.has_value()) return Reason::kNoRoute;
  take_route(*match);
  return Reason::kNone;
}

void Session::take_route(const policy::RouteMatch& match) {
  route_kind_ = match.kind;
  if (route_kind_ == policy::MatchKind::kWildcard) {
    suffix_at_ = static_cast<std::uint8_t>(name_.size() - match.route->host().size());
  }
  const BackendAddress& backend = match.route->backend;
  const auto address = backend.resolve();
  backend_address_ = address.value_or(backend.address());
  if (!address.has_value()) unresolved_ = std::make_unique<const BackendAddress>(backend);
  usage_ = match.route->usage;
  usage_->connections.fetch_add(1, std::memory_order_relaxed);
  usage_->active.fetch_add(1, std::memory_order_relaxed);
  const auto taken = context_.loop.now() - started_;
  counters().hello_ms.observe(static_cast<std::uint64_t>(taken.count()));
  if (!context_.log.enabled(LogLevel::kDebug)) return;
  context_.log.debug("hello decided", {{"listener", context_.settings.listener_names[listener_]},
                                       {"client", peer_.to_string()},
                                       {"sni", name_},
                                       {"ech", ech_offered_ ? "offered" : "none"},
                                       {"route", route_pattern()},
                                       {"backend", backend.to_string()},
                                       {"duration", taken}});
}

// A partial hello polled readable, and yet no byte came: has the client left? Its end of stream
// cannot be read, since peeking shows the queued bytes again.
Reason Session::why_stalled() const {
  pollfd state{.fd = client_.get(), .events = POLLRDHUP, .revents = 0};
  static_cast<void>(::poll(&state, 1, 0));
  if ((state.revents & POLLERR) != 0) return Reason::kClientReset;
  if ((state.revents & (POLLRDHUP | POLLHUP)) != 0) return Reason::kClientClosed;
  return Reason::kNone;
}

// ---- dial

ring::Task<Reason> Session::dial() {
  const Instant began = context_.loop.now();
  stage_ = SessionStage::kDial;
  const Reason opened = open_backend();
  if (opened != Reason::kNone) co_return opened;
  set_deadline(context_.settings.connect_timeout, Reason::kDialTimeout);
  ring::Connect connect(context_.loop, backend_.get(), backend_address_);
  const int result = co_await interruptible(connect);
  if (result == 0) {
    clear_deadline();
    dial_error_ = led_back();
    if (dial_error_ != 0) co_return stopped_or(Reason::kDialRefused);
    dialled(context_.loop.now() - began);
  }
  if (stop_reason_ != Reason::kNone) {
    dial_error_ = stop_reason_ == Reason::kDialTimeout ? ETIMEDOUT : 0;
    co_return stop_reason_;
  }
  co_return dial_result(result);
}

void Session::dialled(std::chrono::milliseconds duration) {
  counters().dial_ms.observe(static_cast<std::uint64_t>(duration.count()));
  if (!context_.log.enabled(LogLevel::kDebug)) return;
  context_.log.debug("backend connected",
                     {{"listener", context_.settings.listener_names[listener_]},
                      {"client", peer_.to_string()},
                      {"backend", backend_address_.to_string()},
                      {"duration", duration}});
}

Reason Session::open_backend() {
  if (unresolved_ != nullptr) {
    dial_error_ = kNoInterface;
    return Reason::kDialFailed;
  }
  backend_ = open_backend_socket(backend_address_);
  if (backend_) return Reason::kNone;
  dial_error_ = errno;
  switch (dial_error_) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Reason::kNoResources;
    default:  // EAFNOSUPPORT: IPv6 is switched off
      return Reason::kDialFailed;
  }
}

// A connect to an address of this machine that "succeeds" may have met nobody else: where nothing
// listens, and the kernel picks the port itself as the local one, TCP connects a socket to itself
// (RFC 9293, section 3.5: a simultaneous open); and a wildcard listener of this process has every
// address that the machine has.
int Session::led_back() const {
  const SocketAddress local = bound_address(backend_.get());
  if (local.ip() != backend_address_.ip()) return 0;
  if (local.port() == backend_address_.port()) return kDialledItself;
  for (const SocketAddress& listener : context_.settings.listener_addresses) {
    if (listener.takes(backend_address_)) return kDialledListener;
  }
  return 0;
}

std::optional<BackendAddress> Session::backend() const {
  if (!routed()) return std::nullopt;
  return unresolved_ != nullptr ? *unresolved_ : BackendAddress(backend_address_);
}

Reason Session::dial_result(int result) {
  dial_error_ = -result;
  switch (-result) {
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

// ---- relay

ring::Task<Reason> Session::relay() {
  ring::Event event(context_.loop);
  RelaySide client(context_.loop, event, client_.get());
  RelaySide backend(context_.loop, event, backend_.get());
  RelayDirection up, down;
  client.readable = true;  // the hello is in its queue
  client.start();
  backend.start();
  stage_ = SessionStage::kRelay;
  active_ = context_.loop.now();
  tell_begin();
  watch_for_silence();

  Reason reason = Reason::kNone;
  while (reason == Reason::kNone) {
    client.absorb();
    backend.absorb();
    if (std::exchange(look_due_, false)) {
      client.look_again();
      backend.look_again();
    }
    const auto up_turn = up.turn({context_, event, client, backend});
    const auto down_turn = down.turn({context_, event, backend, client});
    take_progress(up.bytes(), down.bytes());

    const bool more =
        up_turn == RelayDirection::Turn::kMore || down_turn == RelayDirection::Turn::kMore;
    if (stop_reason_ != Reason::kNone) {
      reason = stop_reason_;
    } else if (!more) {
      reason = relay_result(client, backend, up, down);
    }
    if (reason != Reason::kNone) break;
    if (more) {
      co_await context_.loop.yield();
    } else {
      if (client.unasked || backend.unasked) look_again_soon();
      co_await interruptible(event);
    }
  }

  deadline_reason_ = Reason::kNone;
  stop_reason_ = reason;  // an order that comes now comes too late
  context_.loop.timers().disarm(*this);
  // The descriptors may be closed only when the kernel holds them no more: a close under a standing
  // poll would send neither FIN nor RST.
  client.watch.stop();
  backend.watch.stop();
  while (client.watch.in_flight() || backend.watch.in_flight() || up.busy() || down.busy()) {
    co_await event;
  }
  up.settle();
  down.settle();
  take_progress(up.bytes(), down.bytes());
  counters().session_ms.observe(
      static_cast<std::uint64_t>((context_.loop.now() - started_).count()));
  counters().session_bytes_up.observe(bytes_up_);
  counters().session_bytes_down.observe(bytes_down_);
  co_return reason;
}

// The idle timeout notices a peer that vanished. Where it comes late or never the kernel has to,
// whose timers and option cost a connection 1.5 us.
void Session::watch_for_silence() {
  const auto timeout = context_.settings.idle_timeout;
  deadline_reason_ = Reason::kNone;
  if (timeout.count() > 0) set_deadline(timeout / 2, Reason::kIdleTimeout);
  if (timeout.count() > 0 && timeout <= kIdleBeforeKeepAlive) return;
  keep_alive(client_.get());
  keep_alive(backend_.get());
}

void Session::take_progress(std::uint64_t up, std::uint64_t down) {
  if (up == bytes_up_ && down == bytes_down_) return;
  counters().bytes_up.add(up - bytes_up_);
  counters().bytes_down.add(down - bytes_down_);
  bytes_up_ = up;
  bytes_down_ = down;
  active_ = context_.loop.now();
}

Reason Session::relay_result(const RelaySide& client, const RelaySide& backend,
                             const RelayDirection& up, const RelayDirection& down) const {
  if (up.finished() && down.finished()) return Reason::kCompleted;
  if (up.busy() || down.busy()) return Reason::kNone;  // its answer comes first, and soon
  if (client.failed) return Reason::kClientReset;
  if (backend.failed) return Reason::kBackendReset;
  return Reason::kNone;
}

// ---- close and report

void Session::close(Reason reason) {
  if (!closes_in_order(reason)) {
    reset_on_close(client_.get());
    if (backend_) reset_on_close(backend_.get());
  }
  client_.reset();
  backend_.reset();
}

std::string Session::route_pattern() const {
  if (!routed()) return {};
  switch (route_kind_) {
    case policy::MatchKind::kExact:
      return name_;
    case policy::MatchKind::kWildcard:
      return std::string(policy::kWildcardPrefix) + name_.substr(suffix_at_);
    case policy::MatchKind::kFallback:
      break;
  }
  return std::string(policy::kFallbackPattern);
}

ListenerCounters& Session::counters() const { return context_.counters.per_listener[listener_]; }

Connection Session::describe() const {
  const Instant now = context_.loop.now();
  return {.id = id(),
          .listener = listener_,
          .client = peer_,
          .sni = name_,
          .route = route_pattern(),
          .backend = backend(),
          .stage = stage_,
          .age = now - started_,
          .idle = now - active_,
          .bytes_up = bytes_up_,
          .bytes_down = bytes_down_};
}

void Session::count(Reason reason) {
  counters().of(reason).add();
  if (!routed()) return;
  if (is_dial_failure(reason)) usage_->dial_failures.fetch_add(1, std::memory_order_relaxed);
  usage_->bytes_up.fetch_add(bytes_up_, std::memory_order_relaxed);
  usage_->bytes_down.fetch_add(bytes_down_, std::memory_order_relaxed);
  usage_->active.fetch_sub(1, std::memory_order_relaxed);
}

// Not in relay() itself, whose frame would have room for the event as long as the connection lasts.
void Session::tell_begin() {
  if (!context_.events.wants(EventKind::kOpened)) return;
  context_.events.emit({.kind = EventKind::kOpened, .connection = describe()});
}

void Session::tell_end(Reason reason) {
  const EventKind kind = !routed()                 ? EventKind::kRefused
                         : is_dial_failure(reason) ? EventKind::kDialFailed
                                                   : EventKind::kClosed;
  if (!context_.events.wants(kind)) return;
  context_.events.emit(
      {.kind = kind, .connection = describe(), .reason = reason, .dial_error = dial_error_});
}

// Most of those that leave before their first byte are health checks, which only connect: as many
// lines as checks would hide the others. They are counted, and events, like all.
LogLevel Session::level_of(Reason reason) const {
  if (is_dial_failure(reason)) return LogLevel::kWarn;
  const bool left = reason == Reason::kClientClosed || reason == Reason::kClientReset;
  return left && !spoken_ ? LogLevel::kDebug : LogLevel::kInfo;
}

void Session::report(Reason reason) {
  count(reason);
  tell_end(reason);
  const bool dial_failed = is_dial_failure(reason);
  const LogLevel level = level_of(reason);
  if (!context_.log.enabled(level)) return;
  const bool served = routed() && !dial_failed;
  if (!served && !context_.limiter.admits(listener_, reason)) return;
  const auto duration = context_.loop.now() - started_;
  const std::string& listener = context_.settings.listener_names[listener_];
  const std::string client = peer_.to_string();
  const std::string_view ech = ech_offered_ ? "offered" : "none";
  if (!routed()) {
    const auto write = [&](Log::Fields fields) {
      if (level == LogLevel::kDebug) return context_.log.debug("connection refused", fields);
      context_.log.info("connection refused", fields);
    };
    write({{"listener", listener},
           {"client", client},
           {"sni", name_},
           {"ech", ech},
           {"reason", to_string(reason)},
           {"duration", duration}});
    return;
  }
  const BackendAddress backend = *this->backend();
  const std::string route = route_pattern();
  if (dial_failed) {
    context_.log.warn("dial failed", {{"listener", listener},
                                      {"client", client},
                                      {"sni", name_},
                                      {"backend", backend.to_string()},
                                      {"route", route},
                                      {"error", dial_error_text(dial_error_, backend)},
                                      {"reason", to_string(reason)},
                                      {"duration", duration}});
    return;
  }
  context_.log.info("connection closed", {{"listener", listener},
                                          {"client", client},
                                          {"sni", name_},
                                          {"ech", ech},
                                          {"backend", backend.to_string()},
                                          {"route", route},
                                          {"bytes_up", bytes_up_},
                                          {"bytes_down", bytes_down_},
                                          {"reason", to_string(reason)},
                                          {"duration", duration}});
}

}  // namespace mc::proxy
