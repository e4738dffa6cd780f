// SPDX-License-Identifier: Apache-2.0
#include "proxy/listener.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/descriptor_limit.hpp"
#include "net/sockets.hpp"
#include "proxy/limits.hpp"
#include "proxy/preface.hpp"
#include "proxy/session.hpp"

namespace mc::proxy {

Listener::Listener(WorkerContext& context, std::size_t index, Fd socket)
    : ring::Accept(context.loop), context_(context), index_(index), socket_(std::move(socket)) {}

void Listener::open() {
  state_ = State::kOpen;
  if (!in_flight()) start(socket_.get());
}

void Listener::suspend() {
  if (state_ != State::kOpen) return;
  state_ = State::kSuspended;
  forget_pause();
  if (in_flight()) stop();
}

void Listener::close() {
  if (state_ == State::kClosing) return;
  queue_is_ours_ = state_ == State::kOpen;
  state_ = State::kClosing;
  forget_pause();
  if (in_flight()) {
    stop();
  } else {
    finish();
  }
}

void Listener::accepted(int fd) {
  if (paused_) resume();
  admit(Fd(fd));
}

void Listener::ended(int error) {
  if (state_ == State::kClosing) finish();
  if (state_ != State::kOpen) return;
  // 0: the kernel dropped the standing accept. ECONNABORTED: one client was gone before it was
  // taken. ECANCELED: suspended, and opened again since.
  if (error == 0 || error == -ECONNABORTED || error == -ECANCELED) {
    open();
  } else {
    pause(-error);
  }
}

// The backlog waits in the kernel meanwhile; sessions continue, and their ends free what accepting
// needs.
void Listener::pause(int error) {
  context_.loop.timers().arm(*this, context_.loop.now() + kAcceptPause);
  if (std::exchange(paused_, true)) return;
  context_.counters.accept_paused.add();
  context_.counters.listeners_paused.add();
  context_.log.error(
      "accepting paused",
      {{"listener", context_.settings.listener_names[index_]},
       {"error", std::strerror(error)},
       {"remedy", out_of_descriptors(error)
                      ? "raise RLIMIT_NOFILE (systemd: LimitNOFILE=), or set max_connections"
                      : "open connections continue; accepting is retried every 100 ms"}});
}

// accept takes its descriptor before it waits, so an accept that still stands after another pause
// proves that there is one. Do not wait for a client: a load balancer sends none until the server
// reports that it accepts.
void Listener::expired() {
  if (in_flight()) {
    resume();
    return;
  }
  open();
  context_.loop.timers().arm(*this, context_.loop.now() + kAcceptPause);
}

void Listener::resume() {
  context_.loop.timers().disarm(*this);
  paused_ = false;
  context_.counters.listeners_paused.subtract();
  context_.log.info("accepting again", {{"listener", context_.settings.listener_names[index_]}});
}

void Listener::forget_pause() {
  context_.loop.timers().disarm(*this);
  if (std::exchange(paused_, false)) context_.counters.listeners_paused.subtract();
}

void Listener::finish() {
  // Another process may share the socket, and may have made it blocking (systemd does).
  pollfd waiting{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  while (queue_is_ours_ && ::poll(&waiting, 1, 0) == 1) {
    Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) break;
    admit(std::move(client));
  }
  socket_.reset();
}

void Listener::admit(Fd client) {
  context_.reporter.taken(index_);
  SocketAddress peer;
  socklen_t size = SocketAddress::kCapacity;
  if (::getpeername(client.get(), peer.data(), &size) != 0) {  // reset while it was in the backlog
    context_.reporter.lost(index_);
    return;
  }
  const Reason reason = refusal(peer);
  if (reason == Reason::kNone) {
    serve(context_, index_, std::move(client), peer);
  } else {
    refuse(std::move(client), peer, reason);
  }
}

Reason Listener::refusal(const SocketAddress& peer) const {
  const policy::Verdict verdict = context_.policy.get().admit(peer.ip());
  if (verdict != policy::Verdict::kAllowed) return traffic::reason_of(verdict);
  const policy::ListenerSettings& own = context_.settings.listeners[index_];
  if (own.proxy_header.has_value() && !own.proxy_header->admits_others &&
      !is_trusted_proxy(own, peer.ip())) {
    return Reason::kProxyHeader;
  }
  const OpenConnections& open = context_.connections;
  if (open.all.load(std::memory_order_relaxed) >= context_.settings.connections_max) {
    return Reason::kConnectionLimit;
  }
  const auto& of_listener = open.of_listener[index_];
  if (own.connections_max != 0 &&
      of_listener.load(std::memory_order_relaxed) >= own.connections_max) {
    return Reason::kConnectionLimit;
  }
  return Reason::kNone;
}

void Listener::refuse(Fd client, const SocketAddress& peer, Reason reason) {
  net::reset_on_close(client.get());
  client.reset();
  context_.reporter.refused(index_, peer, reason, context_.loop.now());
}

}  // namespace mc::proxy
