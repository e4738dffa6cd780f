// SPDX-License-Identifier: Apache-2.0
#include "proxy/relay.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "proxy/limits.hpp"

namespace mc::proxy {

void RelaySide::start() { watch.start(fd, POLLIN | POLLOUT | POLLRDHUP); }

void RelaySide::absorb() {
  const unsigned events = watch.take();
  if ((events & POLLOUT) != 0) writable = true;
  if ((events & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) != 0) readable = true;
  if ((events & (POLLRDHUP | POLLHUP | POLLERR)) != 0) hung_up = true;
  // Latched here: the first call that meets a reset takes the error with it, and the next would
  // read a clean end.
  if ((events & POLLERR) != 0) failed = true;
}

bool RelaySide::at_urgent_mark() const {
  int at_mark = 0;
  return ::ioctl(fd, SIOCATMARK, &at_mark) == 0 && at_mark != 0;
}

RelayDirection::Turn RelayDirection::turn() {
  const std::uint64_t stop_at = bytes_ + kBytesPerTurn;
  while (step() == Step::kMoved) {
    if (bytes_ >= stop_at) return Turn::kMore;
  }
  release_pipe();
  return Turn::kBlocked;
}

RelayDirection::Step RelayDirection::step() {
  if (finished_ || to_.failed) return Step::kBlocked;
  if (pipe_ != nullptr && pipe_->bytes > 0) return flush();
  if (ended_) return end_of_stream();
  return fill();
}

// Only ever into an empty pipe: then EAGAIN can only mean that the socket is empty.
RelayDirection::Step RelayDirection::fill() {
  if (!splice_under_way()) {
    if (!from_.readable) return Step::kBlocked;
    if (pipe_ == nullptr) pipe_ = context_.pipes.acquire();
    if (pipe_ == nullptr) {
      context_.counters.pipes_exhausted.add();
      return copy();
    }
    from_.readable = false;
  }
  const auto moved =
      context_.engine.splice(*pipe_, from_.fd, pipe_->write_end.get(), pipe_->capacity, event_);
  if (!moved.has_value()) return Step::kBlocked;
  if (*moved > 0) {
    pipe_->bytes = static_cast<std::size_t>(*moved);
    // Fewer bytes than slots: the pipe was not full, so the socket is empty, and a probe for EAGAIN
    // is saved. Not when the end is on its way (no further edge would announce it), and not before
    // an urgent byte.
    if (pipe_->bytes >= pipe_->slots() || from_.hung_up || from_.at_urgent_mark()) {
      from_.readable = true;
    }
    return Step::kMoved;
  }
  if (*moved < 0 && *moved != -EAGAIN) from_.failed = true;
  // The kernel's splice stops before an urgent byte for ever, whether it says that nothing is
  // there, that the stream has ended or that it was reset; a receive takes the byte.
  if (from_.at_urgent_mark()) return copy();
  if (*moved < 0) return again_or_blocked(from_.readable);
  ended_ = true;
  return Step::kMoved;
}

RelayDirection::Step RelayDirection::flush() {
  if (!splice_under_way()) {
    if (!to_.writable) return Step::kBlocked;
    to_.writable = false;
  }
  const auto moved =
      context_.engine.splice(*pipe_, pipe_->read_end.get(), to_.fd, pipe_->bytes, event_);
  if (!moved.has_value()) return Step::kBlocked;
  if (*moved > 0) {
    pipe_->bytes -= static_cast<std::size_t>(*moved);
    bytes_ += static_cast<std::size_t>(*moved);
    to_.writable = true;
    return Step::kMoved;
  }
  if (*moved != -EAGAIN) to_.failed = true;
  return again_or_blocked(to_.writable);
}

// An edge that was reported while the ring made the attempt may be younger than its EAGAIN.
RelayDirection::Step RelayDirection::again_or_blocked(bool ready) const {
  return ready && !from_.failed && !to_.failed ? Step::kMoved : Step::kBlocked;
}

// Without a pipe and without a buffer of the session's own: peek, send, then discard what was sent
// (MSG_TRUNC on TCP drops received bytes without copying them, tcp(7)). What was not sent was never
// taken.
RelayDirection::Step RelayDirection::copy() {
  from_.readable = true;  // nothing is taken yet
  if (!to_.writable) return Step::kBlocked;
  const auto buffer = context_.copy_buffer;
  const ssize_t peeked = ::recv(from_.fd, buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
  if (peeked <= 0) {
    const bool nothing_yet = peeked < 0 && errno == EAGAIN;
    from_.readable = false;
    if (nothing_yet) return Step::kBlocked;
    if (peeked < 0) {
      from_.failed = true;
      return Step::kBlocked;
    }
    ended_ = true;
    return Step::kMoved;
  }
  const ssize_t sent =
      ::send(to_.fd, buffer.data(), static_cast<std::size_t>(peeked), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EAGAIN) {
      to_.writable = false;
    } else {
      to_.failed = true;
    }
    return Step::kBlocked;
  }
  bytes_ += static_cast<std::size_t>(sent);
  for (ssize_t left = sent; left > 0;) {  // a receive stops at the urgent mark, so it may take two
    const ssize_t dropped =
        ::recv(from_.fd, nullptr, static_cast<std::size_t>(left), MSG_TRUNC | MSG_DONTWAIT);
    if (dropped <= 0) {
      from_.failed = true;
      return Step::kBlocked;
    }
    left -= dropped;
  }
  return Step::kMoved;
}

RelayDirection::Step RelayDirection::end_of_stream() {
  if (from_.failed) return Step::kBlocked;
  if (::shutdown(to_.fd, SHUT_WR) != 0) {
    to_.failed = true;
  } else {
    finished_ = true;
  }
  return Step::kBlocked;
}

void RelayDirection::settle() {
  if (pipe_ == nullptr || !pipe_->operation.answered()) return;
  const int moved = pipe_->operation.take();
  if (moved <= 0) return;
  if (pipe_->bytes == 0) {  // they came in, and stay: the pipe is nobody else's any more
    pipe_->bytes = static_cast<std::size_t>(moved);
    return;
  }
  pipe_->bytes -= static_cast<std::size_t>(moved);
  bytes_ += static_cast<std::size_t>(moved);
}

void RelayDirection::release_pipe() {
  if (pipe_ != nullptr && pipe_->bytes == 0 && !pipe_->busy()) {
    context_.pipes.give_back(std::exchange(pipe_, nullptr));
  }
}

}  // namespace mc::proxy
