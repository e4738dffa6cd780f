// SPDX-License-Identifier: Apache-2.0
#include "ring/loop.hpp"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace mc::ring {

namespace {

// SINGLE_ISSUER with DEFER_TASKRUN: the kernel posts completions only while the owner waits, never
// in the middle of a system call of a session. SUBMIT_ALL: a bad SQE does not stop those behind it.
// R_DISABLED: until the ring is restricted.
constexpr unsigned kSetupFlags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                                 IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED;

int set_up_ring(io_uring& ring, const LoopOptions& options) {
  unsigned entries = options.completion_entries;
  for (;; entries /= 2) {
    io_uring_params params{};
    params.flags = kSetupFlags;
    params.cq_entries = entries;
    const int result = io_uring_queue_init_params(options.submission_entries, &ring, &params);
    if (result != -ENOMEM || entries / 2 < kCompletionEntriesMin) return result;
  }
}

// liburing 2.3 declares functions for these two but does not export them.
int register_with(const io_uring& ring, unsigned what, std::span<io_uring_restriction> with) {
  const long result =
      ::syscall(__NR_io_uring_register, ring.ring_fd, what, with.data(), with.size());
  return result < 0 ? -errno : 0;
}

// Cannot be undone; a ring that cannot be restricted is not used.
int restrict_ring(io_uring& ring, std::span<const int> operations) {
  std::vector<io_uring_restriction> allowed;
  for (const int operation : operations) {
    auto& one = allowed.emplace_back();
    one.opcode = IORING_RESTRICTION_SQE_OP;
    one.sqe_op = static_cast<std::uint8_t>(operation);
  }
  for (const int registration : kRegistrations) {
    auto& one = allowed.emplace_back();
    one.opcode = IORING_RESTRICTION_REGISTER_OP;
    one.register_op = static_cast<std::uint8_t>(registration);
  }
  auto& flags = allowed.emplace_back();
  flags.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  flags.sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
  const int result = register_with(ring, IORING_REGISTER_RESTRICTIONS, allowed);
  return result < 0 ? result : register_with(ring, IORING_REGISTER_ENABLE_RINGS, {});
}

}  // namespace

// The eventfd that other threads write to, always with a read in flight.
class Loop::Wakeup final : public Operation {
 public:
  Wakeup(Loop& loop, int fd) : Operation(loop), fd_(fd) { listen(); }

 private:
  void listen() {
    loop().submit(*this, [this](io_uring_sqe* sqe) {
      io_uring_prep_read(sqe, fd_, &count_, sizeof count_, 0);
    });
  }
  void complete(int result, unsigned) override {
    if (result != -ECANCELED) listen();
  }

  int fd_;
  std::uint64_t count_ = 0;
};

std::expected<std::unique_ptr<Loop>, SetupError> Loop::create(const LoopOptions& options) {
  io_uring ring{};
  if (const int result = set_up_ring(ring, options); result < 0) {
    return std::unexpected(SetupError{-result, "io_uring_setup"});
  }
  if (const int result = restrict_ring(ring, options.operations); result < 0) {
    io_uring_queue_exit(&ring);
    return std::unexpected(SetupError{-result, "io_uring_register"});
  }
  // A registered ring descriptor saves a reference count on every enter; without it everything
  // works the same.
  static_cast<void>(io_uring_register_ring_fd(&ring));
  Fd wake_fd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_fd) {
    const int code = errno;
    io_uring_queue_exit(&ring);
    return std::unexpected(SetupError{code, "eventfd"});
  }
  return std::unique_ptr<Loop>(new Loop(ring, std::move(wake_fd)));
}

Loop::Loop(const io_uring& ring, Fd wake_fd)
    : ring_(ring), now_(Clock::now()), timers_(now_), wake_fd_(std::move(wake_fd)) {
  wakeup_ = std::make_unique<Wakeup>(*this, wake_fd_.get());
}

Loop::~Loop() {
  MC_ASSERT(in_flight() == 0, "a ring was destroyed under operations in flight");
  while (wakeup_->in_flight()) {
    cancel(*wakeup_);
    wait();
    reap();
  }
  io_uring_queue_exit(&ring_);
}

io_uring_sqe* Loop::next_sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {  // the queue is full: submit it early
    const int submitted = io_uring_submit(&ring_);
    MC_ASSERT(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY,
              "io_uring_submit failed");
    // EBUSY, EAGAIN: completions must be reaped first, or the kernel is short of memory for a
    // moment.
    if (submitted < 0) static_cast<void>(io_uring_get_events(&ring_));
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

void Loop::cancel(Operation& operation) {
  if (!operation.in_flight_) return;
  io_uring_sqe* const sqe = next_sqe();
  // Cancels by user_data: by descriptor would walk every bucket of the ring's table, and could
  // match a reused number.
  io_uring_prep_cancel(sqe, &operation, 0);
  io_uring_sqe_set_data(sqe, nullptr);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void Loop::wait() {
  int result = 0;
  if (!ready_.empty() || !next_turn_.empty()) {
    result = io_uring_submit_and_get_events(&ring_);
  } else if (const auto expiry = timers_.next(); expiry.has_value()) {
    const auto rest = std::max(*expiry - Clock::now(), Clock::duration::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(rest);
    __kernel_timespec timeout{.tv_sec = seconds.count(),
                              .tv_nsec = std::chrono::nanoseconds(rest - seconds).count()};
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
  } else {
    result = io_uring_submit_and_wait(&ring_, 1);
  }
  MC_ASSERT(
      result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN || result == -EBUSY,
      "io_uring_enter failed");
  now_ = Clock::now();
}

void Loop::reap() {
  io_uring_cqe* cqe = nullptr;
  unsigned head = 0;
  unsigned count = 0;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++count;
    auto* const operation = static_cast<Operation*>(io_uring_cqe_get_data(cqe));
    if (operation == nullptr) continue;  // the completion of a cancel
    operation->in_flight_ = (cqe->flags & IORING_CQE_F_MORE) != 0;
    if (!operation->in_flight_) --in_flight_;
    operation->complete(cqe->res, cqe->flags);
  }
  io_uring_cq_advance(&ring_, count);
}

void Loop::dispatch() {
  ready_.insert(ready_.end(), next_turn_.begin(), next_turn_.end());
  next_turn_.clear();
  reap();
  timers_.advance(now_);
  run_ready();
}

void Loop::run_ready() {
  // Also runs coroutines that become ready meanwhile. Terminates: each one awaits the kernel or
  // yields to the next turn.
  for (std::size_t i = 0; i < ready_.size(); ++i) ready_[i].resume();
  ready_.clear();
}

void Loop::wake() noexcept {
  const std::uint64_t one = 1;
  // The counter cannot overflow in practice, and a full one would wake the loop all the same.
  static_cast<void>(::write(wake_fd_.get(), &one, sizeof one));
}

}  // namespace mc::ring
