// SPDX-License-Identifier: Apache-2.0
#include "ring/operations.hpp"

#include <fcntl.h>
#include <poll.h>

#include <utility>

namespace mc::ring {

void Splice::start(int from, int to, unsigned length, Event& event) {
  event_ = &event;
  loop().submit(*this, [&](io_uring_sqe* sqe) {
    io_uring_prep_splice(sqe, from, -1, to, -1, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  });
}

int Splice::take() {
  has_result_ = false;
  return result_;
}

void Splice::complete(int result, unsigned) {
  result_ = result;
  has_result_ = true;
  event_->notify();
}

void Poll::start(int fd, unsigned events) {
  fd_ = fd;
  events_ = static_cast<std::uint16_t>(events);
  arm();
}

void Poll::arm() {
  loop().submit(*this,
                [this](io_uring_sqe* sqe) { io_uring_prep_poll_multishot(sqe, fd_, events_); });
}

void Poll::add(unsigned events) {
  if ((events_ & events) == events) return;
  events_ = static_cast<std::uint16_t>(events_ | events);
  changing_ = true;
  loop().cancel(*this);
}

void Poll::stop() {
  stopping_ = true;
  loop().cancel(*this);
}

void Poll::complete(int result, unsigned) {
  if (!in_flight() && !stopping_) {
    // The kernel ends a multishot poll when the completion queue is full; its report is valid.
    if (result >= 0 || changing_) arm();
    if (std::exchange(changing_, false) && result == -ECANCELED) return;
  }
  // Any other end than our own cancellation is an error of the descriptor: the next call on it
  // returns which.
  if (result > 0) reported_ = static_cast<std::uint16_t>(reported_ | result);
  if (result < 0 && !stopping_) reported_ |= POLLERR;
  event_->notify();
}

void Accept::start(int listening_fd) {
  loop().submit(*this, [&](io_uring_sqe* sqe) {
    io_uring_prep_multishot_accept(sqe, listening_fd, nullptr, nullptr,
                                   SOCK_NONBLOCK | SOCK_CLOEXEC);
  });
}

void Accept::complete(int result, unsigned) {
  if (result >= 0) accepted(result);
  if (!in_flight()) ended(result < 0 ? result : 0);
}

}  // namespace mc::ring
