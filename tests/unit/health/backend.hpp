// SPDX-License-Identifier: Apache-2.0
#pragma once
// Backends for tests of health checks, with real sockets on 127.0.0.1.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "net/socket_address.hpp"
#include "unit/net/loopback.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::health::testing {

using tls::testing::Bytes;

/// Takes connections, and never says anything: the kernel accepts them.
class SilentBackend {
 public:
  [[nodiscard]] SocketAddress address() const { return test::address_of(listener_); }

 private:
  Fd listener_ = test::listening_socket(4096);
};

/// Refuses connections until it begins to listen; nobody else gets its port.
class RefusingBackend {
 public:
  RefusingBackend() {
    const SocketAddress any = *SocketAddress::parse_listen("127.0.0.1:0");
    REQUIRE(::bind(socket_.get(), any.data(), any.size()) == 0);
  }
  [[nodiscard]] SocketAddress address() const { return test::address_of(socket_); }
  void listen() const { REQUIRE(::listen(socket_.get(), 4096) == 0); }

 private:
  Fd socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

/// Sends a reply to the first bytes of each connection, then waits for its end.
class ReplyingBackend {
 public:
  enum class Then : std::uint8_t { kWait, kClose };

  explicit ReplyingBackend(Bytes reply, Then then = Then::kWait,
                           std::chrono::milliseconds delay = std::chrono::milliseconds(0))
      : reply_(std::move(reply)), then_(then), delay_(delay), thread_([this] { run(); }) {}
  ~ReplyingBackend() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  ReplyingBackend(const ReplyingBackend&) = delete;
  ReplyingBackend& operator=(const ReplyingBackend&) = delete;

  [[nodiscard]] SocketAddress address() const { return test::address_of(listener_); }
  [[nodiscard]] int connections() const { return connections_; }
  /// Those that the other side has ended by RST, and those that it has ended otherwise.
  [[nodiscard]] int resets() const { return resets_; }
  [[nodiscard]] int other_ends() const { return other_ends_; }
  /// What the last one sent.
  [[nodiscard]] Bytes heard() const {
    const std::lock_guard lock(mutex_);
    return heard_;
  }

 private:
  // False: this backend is to end.
  [[nodiscard]] bool wait_for(int fd) const {
    pollfd both[] = {{.fd = fd, .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    return ::poll(both, 2, -1) > 0 && both[1].revents == 0;
  }
  void run() {
    while (wait_for(listener_.get())) {
      const Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection) continue;
      ++connections_;
      serve(connection.get());
    }
  }
  void serve(int fd) {
    Bytes bytes(16384);
    if (!wait_for(fd)) return;
    const auto size = ::recv(fd, bytes.data(), bytes.size(), 0);
    if (size > 0) {
      bytes.resize(static_cast<std::size_t>(size));
      const std::lock_guard lock(mutex_);
      heard_ = bytes;
    } else {
      return ended(size);
    }
    std::this_thread::sleep_for(delay_);
    [[maybe_unused]] const auto sent = ::send(fd, reply_.data(), reply_.size(), MSG_NOSIGNAL);
    if (then_ == Then::kClose || !wait_for(fd)) return;
    ended(::recv(fd, bytes.data(), bytes.size(), 0));
  }
  void ended(ssize_t received) { ++(received < 0 && errno == ECONNRESET ? resets_ : other_ends_); }

  const Bytes reply_;
  const Then then_;
  const std::chrono::milliseconds delay_;
  Fd listener_ = test::listening_socket(4096);
  Fd stop_{::eventfd(0, EFD_CLOEXEC)};
  std::atomic<int> connections_{0};
  std::atomic<int> resets_{0};
  std::atomic<int> other_ends_{0};
  mutable std::mutex mutex_;
  Bytes heard_;
  std::thread thread_;
};

}  // namespace mc::health::testing
