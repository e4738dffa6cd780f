// SPDX-License-Identifier: Apache-2.0
#include "proxy/session.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "net/sockets.hpp"
#include "proxy/dial.hpp"
#include "proxy/limits.hpp"
#include "proxy/relay.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

ring::Detached serve(WorkerContext& context, std::size_t listener, Fd client, SocketAddress peer) {
  Session session(context, listener, std::move(client), peer);
  Reason reason = co_await session.read_hello();
  if (reason == Reason::kNone) reason = co_await session.dial();
  if (reason == Reason::kNone) reason = co_await session.relay();
  session.end(reason);
}

Session::Session(WorkerContext& context, std::size_t listener, Fd client, const SocketAddress& peer)
    : context_(context), client_(std::move(client)) {
  facts_.worker = static_cast<std::uint16_t>(context_.worker);
  facts_.number = ++context_.sessions_opened;
  facts_.listener = static_cast<std::uint16_t>(listener);
  facts_.peer = peer;
  facts_.accepted_at = facts_.moved_at = context_.loop.now();
  context_.sessions.add(*this);
  context_.connections.fetch_add(1, std::memory_order_relaxed);
  context_.reporter.opened(facts_);
}

Session::~Session() {
  context_.reporter.closed(facts_);
  context_.connections.fetch_sub(1, std::memory_order_relaxed);
  context_.sessions.remove(*this);
}

// ---- peek and decide

ring::Task<Reason> Session::read_hello() {
  Deadline deadline(context_.loop, interruption_, context_.settings.hello_timeout,
                    Reason::kHelloTimeout);
  ring::PeekMode mode = ring::PeekMode::kAtOnce;
  std::size_t seen = 0;
  for (;;) {
    Judgement judgement;
    bool grown = false;
    {
      ring::Peek peek(context_.loop, client_.get(), context_.peek_buffers, mode);
      const int peeked = co_await interruption_.reaches(peek);
      if (peeked == -ENOBUFS) {  // all buffers were used in this turn, and return in it
        co_await context_.loop.yield();
        continue;
      }
      if (peeked == 0) co_return interruption_.reason_or(Reason::kClientClosed);
      if (peeked < 0) co_return interruption_.reason_or(Reason::kClientReset);
      facts_.has_spoken = true;
      grown = peek.bytes().size() > seen;
      seen = peek.bytes().size();
      judgement = judge(peek.bytes());
    }
    if (const Reason* const verdict = std::get_if<Reason>(&judgement)) {
      if (mode == ring::PeekMode::kWhenReadable) net::set_receive_low_water(client_.get(), 1);
      deadline.met(context_.loop);
      co_return *verdict != Reason::kNone ? *verdict : interruption_.reason_or(Reason::kNone);
    }
    if (interruption_.reason() != Reason::kNone) co_return interruption_.reason();
    if (!grown) {
      const Reason stalled = why_stalled();
      if (stalled != Reason::kNone) co_return stalled;
      ring::Sleep rest(context_.loop, context_.loop.now() + kHelloRetry);
      co_await interruption_.reaches(rest);
    }
    net::set_receive_low_water(client_.get(), std::get<tls::Incomplete>(judgement).needed);
    mode = ring::PeekMode::kWhenReadable;
  }
}

Session::Judgement Session::judge(std::span<const std::uint8_t> bytes) {
  const tls::ParseResult result = context_.parser.parse(bytes);
  if (const auto* const incomplete = std::get_if<tls::Incomplete>(&result)) return *incomplete;
  if (const auto* const reject = std::get_if<tls::Reject>(&result)) {
    if (*reject == tls::Reject::kNameInvalid) {
      context_.reporter.name_refused(facts_, context_.parser.refused_name());
    }
    return traffic::reason_of(*reject);
  }
  return decide(std::get<tls::ClientHello>(result));
}

Reason Session::decide(const tls::ClientHello& hello) {
  facts_.name = hello.server_name.view();
  facts_.ech_offered = hello.ech_offered;
  const auto* const route = context_.policy.get().route(facts_.listener, facts_.name);
  if (route == nullptr) return Reason::kNoRoute;
  facts_.take_route(*route);
  context_.reporter.routed(facts_, context_.loop.now());
  return Reason::kNone;
}

// A partial hello polled readable, but no byte came: has the client left? Its end of stream cannot
// be read, since peeking returns the queued bytes again.
Reason Session::why_stalled() const {
  pollfd state{.fd = client_.get(), .events = POLLRDHUP, .revents = 0};
  static_cast<void>(::poll(&state, 1, 0));
  if ((state.revents & POLLERR) != 0) return Reason::kClientReset;
  if ((state.revents & (POLLRDHUP | POLLHUP)) != 0) return Reason::kClientClosed;
  return Reason::kNone;
}

// ---- dial

ring::Task<Reason> Session::dial() {
  facts_.stage = traffic::Stage::kDial;
  const DialParts parts{.context = context_, .facts = facts_, .interruption = interruption_};
  auto connected = co_await proxy::dial(parts);
  if (!connected.has_value()) co_return connected.error();
  backend_ = *std::move(connected);
  co_return Reason::kNone;
}

// ---- relay and end

ring::Task<Reason> Session::relay() {
  facts_.stage = traffic::Stage::kRelay;
  facts_.moved_at = context_.loop.now();
  return proxy::relay({.context = context_,
                       .facts = facts_,
                       .interruption = interruption_,
                       .client = client_.get(),
                       .backend = backend_.get()});
}

void Session::end(Reason reason) {
  if (traffic::info(reason).close == traffic::Close::kReset) {
    net::reset_on_close(client_.get());
    if (backend_) net::reset_on_close(backend_.get());
  }
  client_.reset();
  backend_.reset();
  context_.reporter.ended(facts_, reason, context_.loop.now());
}

}  // namespace mc::proxy
