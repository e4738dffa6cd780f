// SPDX-License-Identifier: Apache-2.0
#pragma once
// The owner of one file descriptor. The destructor only closes it; what must happen before a close
// (cancelling what a ring still holds, linger options) is the duty of the Fd's owner.

#include <unistd.h>

#include <utility>

namespace mc {

/// Owns a file descriptor, or nothing (-1). Movable, not copyable. Any thread.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }

  /// Gives up ownership.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  /// Closes now. Errors of close(2) are ignored: the descriptor is gone either way on Linux.
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace mc
