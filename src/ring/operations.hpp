// SPDX-License-Identifier: Apache-2.0
#pragma once
// The operations that mc-proxy submits, one small class each. Two shapes: an awaitable operation
// completes once, to the coroutine that submitted it (`const int fd = co_await Connect(...)`: the
// result, or a negative errno); a standing operation (Accept, Poll) completes many times, to its
// owner, until it is cancelled.

#include <sys/socket.h>

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/connect_address.hpp"
#include "ring/buffer_group.hpp"
#include "ring/event.hpp"
#include "ring/interruptible.hpp"
#include "ring/loop.hpp"

namespace mc::ring {

/// The part that all awaitable operations share. Submits when it is awaited, not before; returns
/// the CQE's result. interrupt() cancels it. A result that arrives before the cancellation is
/// delivered, not dropped.
class Awaitable : public Operation, public Interruptible {
 public:
  void interrupt() final { loop().cancel(*this); }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    waiter_ = coroutine;
    loop().submit(*this, [this](io_uring_sqe* sqe) { prepare(sqe); });
  }
  int await_resume() const noexcept { return result_; }

 protected:
  using Operation::Operation;
  ~Awaitable() = default;

  virtual void prepare(io_uring_sqe* sqe) const = 0;
  /// Of the completion.
  [[nodiscard]] int result() const { return result_; }
  [[nodiscard]] unsigned flags() const { return flags_; }

 private:
  void complete(int result, unsigned flags) final {
    result_ = result;
    flags_ = flags;
    loop().resume_soon(waiter_);
  }

  std::coroutine_handle<> waiter_;
  int result_ = -ECANCELED;  // returned when it is interrupted before it began
  unsigned flags_ = 0;
};

/// connect(2). Returns 0 or -errno: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH,
/// EADDRNOTAVAIL, ECANCELED are to be expected. `address` must outlive the submission, so a
/// temporary (which an IP address would be converted to) does not compile.
class Connect final : public Awaitable {
 public:
  Connect(Loop& loop, int fd, const ConnectAddress& address)
      : Awaitable(loop), fd_(fd), address_(address) {}
  Connect(Loop& loop, int fd, ConnectAddress&& address) = delete;

 private:
  void prepare(io_uring_sqe* sqe) const override {
    io_uring_prep_connect(sqe, fd_, address_.data(), address_.size());
  }

  int fd_;
  const ConnectAddress& address_;
};

/// recv(2) into `buffer`, which must outlive the operation. Returns the number of bytes, 0 at the
/// end of the stream, or -errno: ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ECANCELED are to be expected.
class Receive final : public Awaitable {
 public:
  Receive(Loop& loop, int fd, std::span<std::uint8_t> buffer)
      : Awaitable(loop), fd_(fd), buffer_(buffer) {}

 private:
  void prepare(io_uring_sqe* sqe) const override {
    io_uring_prep_recv(sqe, fd_, buffer_.data(), buffer_.size(), 0);
  }

  int fd_;
  std::span<std::uint8_t> buffer_;
};

/// Whether a Peek returns the bytes queued now, or first waits for the socket to poll readable,
/// which honours SO_RCVLOWAT (a plain receive does not).
enum class PeekMode : std::uint8_t { kAtOnce, kWhenReadable };

/// recv(2) with MSG_PEEK, into a buffer that the kernel picks from `buffers` only once there are
/// bytes: a silent client holds none. Returns the number of bytes, 0 at the end of the stream, or
/// -errno: ECONNRESET, ECANCELED, and ENOBUFS when the group ran dry in this turn (submit again)
/// are to be expected. Never combined with MSG_WAITALL, which would forge data (measured: peeking
/// does not consume, but the kernel's retry advances the buffer).
class Peek final : public Awaitable {
 public:
  Peek(Loop& loop, int fd, BufferGroup& buffers, PeekMode mode)
      : Awaitable(loop), fd_(fd), buffers_(buffers), mode_(mode) {}

  /// Gives the buffer back, so keep the Peek no longer than its bytes are needed, and not across an
  /// await.
  ~Peek() {
    if (has_buffer()) buffers_.give_back(flags());
  }

  /// The peeked bytes; empty unless the result was positive.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const {
    if (!has_buffer() || result() <= 0) return {};
    return buffers_.filled(flags(), static_cast<std::size_t>(result()));
  }

 private:
  [[nodiscard]] bool has_buffer() const { return (flags() & IORING_CQE_F_BUFFER) != 0; }
  void prepare(io_uring_sqe* sqe) const override {
    io_uring_prep_recv(sqe, fd_, nullptr, 0, MSG_PEEK);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffers_.id();
    if (mode_ == PeekMode::kWhenReadable) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
  }

  int fd_;
  BufferGroup& buffers_;
  PeekMode mode_;
};

/// Waits for time alone, on the thread's timer wheel: `co_await Sleep(loop, until)`.
class Sleep final : public Timer, public Interruptible {
 public:
  Sleep(Loop& loop, Instant until) : loop_(loop), until_(until) {}

  void interrupt() override { wake_up(); }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    waiter_ = coroutine;
    loop_.timers().arm(*this, until_);
  }
  void await_resume() const noexcept {}

 private:
  void expired() override { wake_up(); }
  void wake_up() {
    loop_.timers().disarm(*this);
    if (waiter_) loop_.resume_soon(std::exchange(waiter_, nullptr));
  }

  Loop& loop_;
  Instant until_;
  std::coroutine_handle<> waiter_;
};

/// splice(2) as a ring operation: notifies `event` when its result has arrived. On Linux 6.18 the
/// kernel runs it on a worker thread (io-wq). Both descriptors must be non-blocking
/// (SPLICE_F_NONBLOCK covers the pipe alone).
class Splice final : public Operation {
 public:
  using Operation::Operation;

  void start(int from, int to, unsigned length, Event& event);
  /// The result has arrived and was not taken yet.
  [[nodiscard]] bool has_result() const { return has_result_; }
  /// Takes the result: bytes moved, 0 at the end of the stream, or -errno.
  int take();

 private:
  void complete(int result, unsigned flags) override;

  Event* event_ = nullptr;
  int result_ = 0;
  bool has_result_ = false;
};

/// A standing poll of one descriptor (multishot): collects what the kernel reports and notifies
/// `event`. Reports are edges: after one, read or write until EAGAIN, or no other one comes.
class Poll final : public Operation {
 public:
  Poll(Loop& loop, Event& event) : Operation(loop), event_(&event) {}

  /// Begins to watch for `events` (poll(2): POLLIN, POLLOUT, POLLRDHUP; POLLERR and POLLHUP
  /// always).
  void start(int fd, unsigned events);
  /// Watches for these events too, and reports conditions that already hold. Re-arms the poll (one
  /// cancel), unless they are in its mask.
  void add(unsigned events);
  /// Requests the end; `event` is notified when the kernel has released the descriptor.
  void stop();
  /// What was reported since the last take(), as poll(2) bits.
  unsigned take() { return std::exchange(reported_, std::uint16_t{0}); }

 private:
  void complete(int result, unsigned flags) override;
  void arm();

  // Ordered to take the least memory: an idle connection has two.
  int fd_ = -1;
  Event* event_;
  std::uint16_t events_ = 0;
  std::uint16_t reported_ = 0;
  bool stopping_ = false;
  bool changing_ = false;  // is cancelled to be armed for other events
};

/// A standing accept on one listening socket (multishot): accepted() gets every connection,
/// non-blocking and close-on-exec. When the kernel ends it, ended() gets the reason and the owner
/// decides when to start again.
class Accept : public Operation {
 public:
  void start(int listening_fd);
  /// Requests the end; ended(-ECANCELED) follows, after any connection that was accepted before.
  void stop() { loop().cancel(*this); }

 protected:
  using Operation::Operation;
  ~Accept() = default;

  /// A new connection; the callee owns the descriptor.
  virtual void accepted(int fd) = 0;
  /// The standing accept is over. `error` is 0 (start again at once: the kernel ended it without
  /// trouble) or a negative errno: ECANCELED, EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED…
  /// (accept(2)).
  virtual void ended(int error) = 0;

 private:
  void complete(int result, unsigned flags) final;
};

}  // namespace mc::ring
