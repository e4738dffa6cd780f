// SPDX-License-Identifier: Apache-2.0
#include "proxy/relay.hpp"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/sockets.hpp"
#include "proxy/limits.hpp"
#include "proxy/relay_watch.hpp"

namespace mc::proxy {

// ---- the pump

using Input = RelaySide::Input;
using Output = RelaySide::Output;

namespace {

Reason end_of(const RelaySide& client, const RelaySide& backend, const RelayDirection& up,
              const RelayDirection& down) {
  if (up.finished() && down.finished()) return Reason::kCompleted;
  if (up.busy() || down.busy()) return Reason::kNone;  // its result comes first, and soon
  if (client.has_failed()) return Reason::kClientReset;
  if (backend.has_failed()) return Reason::kBackendReset;
  return Reason::kNone;
}

// A signal has ended a splice before it moved anything. A system call begins again by itself; the
// ring hands on what the kernel says inside (ERESTARTSYS, include/linux/errno.h).
bool was_interrupted(std::int64_t moved) {
  constexpr int kRestartSys = 512;
  return moved == -EINTR || moved == -kRestartSys;
}

}  // namespace

ring::Task<Reason> relay(RelayParts parts) {
  WorkerContext& context = parts.context;
  ring::Event event(context.loop);
  RelaySide client(context.loop, event, parts.client);
  RelaySide backend(context.loop, event, parts.backend);
  RelayDirection up, down;
  RelayWatch watch(parts);
  client.input = RelaySide::Input::kReadable;  // the hello is in its queue
  client.start();
  backend.start();
  context.reporter.connected(parts.facts, context.loop.now());
  watch.start();

  Reason reason = Reason::kNone;
  for (;;) {
    client.absorb();
    backend.absorb();
    if (watch.take_recheck()) {
      client.recheck_urgent();
      backend.recheck_urgent();
    }
    const auto up_turn = up.turn({context, event, client, backend});
    const auto down_turn = down.turn({context, event, backend, client});
    context.reporter.moved(parts.facts, up.bytes(), down.bytes(), context.loop.now());

    const bool more =
        up_turn == RelayDirection::Turn::kMore || down_turn == RelayDirection::Turn::kMore;
    reason = parts.interruption.reason();
    if (reason == Reason::kNone && !more) reason = end_of(client, backend, up, down);
    if (reason != Reason::kNone) break;
    if (more) {
      co_await context.loop.yield();
    } else {
      if (client.input == Input::kTakenForAll || backend.input == Input::kTakenForAll) {
        watch.recheck_soon();
      }
      co_await parts.interruption.reaches(event);
    }
  }

  parts.interruption.settle(reason);
  watch.stop();
  // The descriptors may be closed only when the kernel holds them no more: a close under a standing
  // poll would send neither FIN nor RST.
  client.poll.stop();
  backend.poll.stop();
  while (client.poll.in_flight() || backend.poll.in_flight() || up.busy() || down.busy()) {
    co_await event;
  }
  up.settle();
  down.settle();
  context.reporter.moved(parts.facts, up.bytes(), down.bytes(), context.loop.now());
  context.reporter.relayed(parts.facts, context.loop.now());
  co_return reason;
}

// ---- a side

// Not POLLOUT: it would be reported at once, for a new connection can always be written to.
void RelaySide::start() { poll.start(fd, POLLIN | POLLRDHUP); }

void RelaySide::block_writing() {
  output = Output::kFull;
  poll.add(POLLOUT);
}

// SIOCINQ counts an urgent byte too, as SO_OOBINLINE is set, but not the end of the stream (Linux,
// tcp_inq()).
bool RelaySide::has_more() const {
  int bytes = 0;
  return ::ioctl(fd, SIOCINQ, &bytes) != 0 || bytes > 0;
}

void RelaySide::recheck_urgent() {
  if (input != Input::kTakenForAll) return;
  input = has_more() ? Input::kReadable : Input::kExhausted;
}

void RelaySide::absorb() {
  const unsigned events = poll.take();
  if ((events & POLLOUT) != 0) output = Output::kWritable;
  if ((events & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) != 0) input = Input::kReadable;
  if ((events & (POLLRDHUP | POLLHUP)) != 0) stream = std::max(stream, Stream::kHungUp);
  // Kept here: the first call that meets a reset takes the error with it, and the next would read a
  // clean end.
  if ((events & POLLERR) != 0) fail();
}

bool RelaySide::at_urgent_mark() const {
  int at_mark = 0;
  return ::ioctl(fd, SIOCATMARK, &at_mark) == 0 && at_mark != 0;
}

// ---- a direction

RelayDirection::Turn RelayDirection::turn(const RelayPath& path) {
  const std::uint64_t stop_at = bytes_ + kBytesPerTurn;
  while (step(path) == Step::kMoved) {
    if (bytes_ >= stop_at) return Turn::kMore;
  }
  if (pipe_ != nullptr && pipe_->bytes == 0 && !pipe_->busy()) pipe_.reset();
  return Turn::kBlocked;
}

RelayDirection::Step RelayDirection::step(const RelayPath& path) {
  if (phase_ == Phase::kFinished || path.to.has_failed()) return Step::kBlocked;
  if (pipe_ != nullptr && pipe_->bytes > 0) return flush(path);
  if (phase_ == Phase::kEnding) return end_of_stream(path);
  return fill(path);
}

// Only ever into an empty pipe: then EAGAIN can only mean that the socket is empty.
RelayDirection::Step RelayDirection::fill(const RelayPath& path) {
  RelaySide& from = path.from;
  if (!splice_under_way()) {
    if (!from.is_readable()) return Step::kBlocked;
    if (pipe_ == nullptr) pipe_ = path.context.pipes.acquire();
    if (pipe_ == nullptr) {
      path.context.counters.pipes_exhausted.add();
      return copy(path);
    }
    from.input = Input::kExhausted;
  }
  const auto moved = path.context.engine.splice(*pipe_, from.fd, pipe_->write_end.get(),
                                                pipe_->capacity, path.event);
  if (!moved.has_value()) return Step::kBlocked;
  if (*moved > 0) {
    pipe_->bytes = static_cast<std::size_t>(*moved);
    from.input = std::max(from.input, left_after_fill(from));  // an edge may have come meanwhile
    return Step::kMoved;
  }
  if (was_interrupted(*moved)) {
    from.input = Input::kReadable;
    return Step::kMoved;
  }
  if (*moved < 0 && *moved != -EAGAIN) from.fail();
  // The kernel's splice stops before an urgent byte for ever, whether it returns EAGAIN, the end of
  // the stream or a reset; a receive takes the byte.
  if (from.at_urgent_mark()) return copy(path);
  if (*moved < 0) {  // of an EAGAIN, an edge that came meanwhile is younger
    return from.is_readable() && !from.has_failed() ? Step::kMoved : Step::kBlocked;
  }
  phase_ = Phase::kEnding;
  return Step::kMoved;
}

// Where little came, that is most likely all, and a probe for EAGAIN is saved. Not when the end is
// on its way: no further edge would announce it. A pipe that took fewer bytes than it has slots
// cannot have been full, so the socket is drained, except for a possible urgent byte.
RelaySide::Input RelayDirection::left_after_fill(const RelaySide& from) const {
  if (pipe_->bytes >= kLittleBytes || from.stream != RelaySide::Stream::kOpen) {
    return Input::kReadable;
  }
  if (pipe_->bytes < pipe_->slots) return Input::kTakenForAll;
  return from.has_more() ? Input::kReadable : Input::kExhausted;
}

RelayDirection::Step RelayDirection::flush(const RelayPath& path) {
  RelaySide& to = path.to;
  if (!splice_under_way()) {
    if (!to.is_writable()) return Step::kBlocked;
    to.output = Output::kFull;
  }
  const auto moved =
      path.context.engine.splice(*pipe_, pipe_->read_end.get(), to.fd, pipe_->bytes, path.event);
  if (!moved.has_value()) return Step::kBlocked;
  if (*moved > 0) {
    pipe_->bytes -= static_cast<std::size_t>(*moved);
    bytes_ += static_cast<std::size_t>(*moved);
    to.output = Output::kWritable;
    return Step::kMoved;
  }
  if (was_interrupted(*moved)) {
    to.output = Output::kWritable;
    return Step::kMoved;
  }
  if (*moved != -EAGAIN) {
    to.fail();
    return Step::kBlocked;
  }
  if (to.is_writable() && !path.from.has_failed()) return Step::kMoved;  // the edge is younger
  to.block_writing();
  return Step::kBlocked;
}

// Without a pipe and without a buffer of the session's own: peek, send, then drop what was sent.
// What was not sent was never taken.
RelayDirection::Step RelayDirection::copy(const RelayPath& path) {
  path.from.input = Input::kReadable;  // nothing is taken yet
  if (!path.to.is_writable()) return Step::kBlocked;
  const auto buffer = path.context.copy_buffer;
  const ssize_t peeked = net::peek_queued(path.from.fd, buffer);
  if (peeked <= 0) {
    const bool nothing_yet = peeked < 0 && errno == EAGAIN;
    path.from.input = Input::kExhausted;
    if (nothing_yet) return Step::kBlocked;
    if (peeked < 0) {
      path.from.fail();
      return Step::kBlocked;
    }
    phase_ = Phase::kEnding;
    return Step::kMoved;
  }
  const ssize_t sent = ::send(path.to.fd, buffer.data(), static_cast<std::size_t>(peeked),
                              MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EAGAIN) {
      path.to.block_writing();
    } else {
      path.to.fail();
    }
    return Step::kBlocked;
  }
  bytes_ += static_cast<std::size_t>(sent);
  if (net::drop_queued(path.from.fd, static_cast<std::size_t>(sent), buffer)) return Step::kMoved;
  path.from.fail();
  return Step::kBlocked;
}

RelayDirection::Step RelayDirection::end_of_stream(const RelayPath& path) {
  if (path.from.has_failed()) return Step::kBlocked;
  if (::shutdown(path.to.fd, SHUT_WR) != 0) {
    path.to.fail();
  } else {
    phase_ = Phase::kFinished;
  }
  return Step::kBlocked;
}

void RelayDirection::settle() {
  if (pipe_ == nullptr || !pipe_->operation.has_result()) return;
  const int moved = pipe_->operation.take();
  if (moved <= 0) return;
  if (pipe_->bytes == 0) {  // they came in, and stay: the pipe is nobody else's any more
    pipe_->bytes = static_cast<std::size_t>(moved);
    return;
  }
  pipe_->bytes -= static_cast<std::size_t>(moved);
  bytes_ += static_cast<std::size_t>(moved);
}

}  // namespace mc::proxy
