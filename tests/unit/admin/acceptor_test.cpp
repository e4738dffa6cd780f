// SPDX-License-Identifier: Apache-2.0
// The accepting thread, with real connections over loopback.

#include "admin/acceptor.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "admin/limits.hpp"
#include "net/socket_address.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "unit/net/loopback.hpp"

using namespace mc;
using namespace mc::admin;

namespace {

constexpr std::size_t kMax = 3;
constexpr std::chrono::seconds kPatience{20};

/// A listener on loopback whose acceptor keeps what it accepts.
class Door {
 public:
  Door() {
    REQUIRE(acceptor != nullptr);
    const int flags = ::fcntl(listener_.get(), F_GETFL);
    REQUIRE(::fcntl(listener_.get(), F_SETFL, flags | O_NONBLOCK) == 0);
  }

  void start() {
    acceptor->start(listener_, [this](Fd connection) {
      const std::lock_guard lock(mutex_);
      kept_.push_back(std::move(connection));
      return kept_.back().get();
    });
  }

  /// A client's end; the kernel connects it, whether it is accepted or not.
  [[nodiscard]] Fd connect() const {
    const SocketAddress to = address();
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fd.get(), to.data(), to.size()) == 0);
    return fd;
  }

  std::size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_.size();
  }

  /// Whether so many have been accepted within kPatience.
  bool reaches(std::size_t count) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (kept() < count && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return kept() >= count;
  }

  int first() {
    const std::lock_guard lock(mutex_);
    return kept_.front().get();
  }

  /// Closes the first of those that are kept.
  void drop_first() {
    const std::lock_guard lock(mutex_);
    kept_.front().reset();
  }

  [[nodiscard]] int listener() const { return listener_.get(); }
  [[nodiscard]] SocketAddress address() const { return test::address_of(listener_); }

  const std::unique_ptr<Acceptor> acceptor = Acceptor::make(kMax);

 private:
  Fd listener_ = test::listening_socket();
  std::mutex mutex_;
  std::vector<Fd> kept_;
};

/// What the process takes of the CPU in that time.
double cpu_seconds_of(std::chrono::milliseconds time) {
  const std::clock_t begin = std::clock();
  std::this_thread::sleep_for(time);
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

}  // namespace

TEST_CASE("what is accepted is handed over, non-blocking and not for programs that are started") {
  Door door;
  door.start();
  const Fd client = door.connect();
  REQUIRE(door.reaches(1));
  CHECK((::fcntl(door.first(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(door.first(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("beyond the most connections the next ones wait until as many end, and nothing spins") {
  Door door;
  door.start();
  std::vector<Fd> clients;
  for (std::size_t i = 0; i < kMax + 2; ++i) clients.push_back(door.connect());
  REQUIRE(door.reaches(kMax));
  CHECK(cpu_seconds_of(5 * kAcceptPause) < 0.1);
  CHECK(door.kept() == kMax);
  door.drop_first();
  REQUIRE(door.reaches(kMax + 1));
  std::this_thread::sleep_for(3 * kAcceptPause);
  CHECK(door.kept() == kMax + 1);
}

TEST_CASE("a place whose descriptor is another socket's by now is free") {
  Door door;
  door.start();
  std::vector<Fd> clients;
  for (std::size_t i = 0; i < kMax; ++i) clients.push_back(door.connect());
  REQUIRE(door.reaches(kMax));
  door.drop_first();
  const Fd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // takes the lowest number
  clients.push_back(door.connect());
  CHECK(door.reaches(kMax + 1));
}

TEST_CASE("a connection that ends at once takes no place") {
  Door door;
  std::atomic<std::size_t> seen = 0;
  const int kind = GENERATE(0, 1);
  {
    Fd listener(::dup(door.listener()));
    door.acceptor->start(listener, [&](Fd connection) {
      ++seen;
      const int fd = connection.get();
      connection.reset();
      return kind == 0 ? -1 : fd;
    });
    std::vector<Fd> clients;
    for (std::size_t i = 0; i < 4 * kMax; ++i) clients.push_back(door.connect());
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (seen < 4 * kMax && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    door.acceptor->stop();
  }
  CHECK(seen == 4 * kMax);
}

TEST_CASE("without a descriptor accepting rests, does not spin, and goes on") {
  Door door;
  door.start();
  const Fd client = door.connect();
  REQUIRE(door.reaches(1));
  Fd waiting(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = door.address();
  double cpu_seconds = 0;
  int connected = -1;
  {
    const test::DescriptorsBelow none(3);  // not fewer than the acceptor gives to poll(2)
    connected = ::connect(waiting.get(), address.data(), address.size());
    cpu_seconds = cpu_seconds_of(5 * kAcceptPause);
    CHECK(door.kept() == 1);
  }
  CHECK(connected == 0);
  CHECK(cpu_seconds < 0.1);
  CHECK(door.reaches(2));
}

TEST_CASE("it stops at once, while it rests too, and connections stay") {
  Door door;
  door.start();
  std::vector<Fd> clients;
  const std::size_t count = GENERATE(std::size_t{1}, kMax + 1);
  for (std::size_t i = 0; i < count; ++i) clients.push_back(door.connect());
  REQUIRE(door.reaches(std::min(count, kMax)));
  door.acceptor->stop();
  door.acceptor->stop();
  door.drop_first();
  clients.push_back(door.connect());
  std::this_thread::sleep_for(3 * kAcceptPause);
  CHECK(door.kept() == std::min(count, kMax));
  pollfd event{.fd = clients.back().get(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&event, 1, 0) == 0);
}
