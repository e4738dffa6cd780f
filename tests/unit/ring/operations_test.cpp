// SPDX-License-Identifier: Apache-2.0
#include "ring/operations.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "base/fd.hpp"
#include "net/sockets.hpp"
#include "ring/task.hpp"
#include "support/catch.hpp"
#include "unit/net/loopback.hpp"
#include "unit/ring/loop_fixture.hpp"

using namespace mc;
using namespace mc::ring;
using mc::test::make_loop;
using mc::test::turn_until;

namespace {

struct Pair {
  Fd ours;
  Fd peer;
};

// A real TCP connection over loopback: unix sockets know neither SO_RCVLOWAT with poll nor RST.
struct TcpListener {
  TcpListener() {
    fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    address = *SocketAddress::parse_listen("127.0.0.1:0");
    REQUIRE(::bind(fd.get(), address.data(), address.size()) == 0);
    REQUIRE(::listen(fd.get(), 1024) == 0);
    address = test::address_of(fd);
  }
  Fd fd;
  SocketAddress address;
};

Fd connected_to(const TcpListener& listener) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(fd.get(), listener.address.data(), listener.address.size()) == 0);
  return fd;
}

Pair tcp_pair() {
  const TcpListener listener;
  Pair pair;
  pair.peer = connected_to(listener);
  pair.ours = Fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  REQUIRE(pair.ours);
  return pair;
}

void send_text(const Fd& fd, std::string_view text) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(text.size()));
}

Detached peek(Loop& loop, const Fd& fd, BufferGroup& buffers, PeekMode mode,
              std::vector<std::string>& seen, int& result) {
  Peek peek(loop, fd.get(), buffers, mode);
  result = co_await peek;
  const auto bytes = peek.bytes();
  seen.emplace_back(bytes.begin(), bytes.end());
}

Detached receive(Loop& loop, const Fd& fd, std::string& bytes, int& result) {
  std::array<std::uint8_t, 64> buffer;
  Receive receive(loop, fd.get(), buffer);
  result = co_await receive;
  if (result > 0) bytes.assign(buffer.begin(), buffer.begin() + result);
}

// The address would be gone when the operation is submitted.
static_assert(!std::is_constructible_v<Connect, Loop&, int, ConnectAddress>);
static_assert(!std::is_constructible_v<Connect, Loop&, int, const SocketAddress&>);

Detached connect_to(Loop& loop, const Fd& fd, ConnectAddress address, Connect** operation,
                    int& result) {
  Connect connect(loop, fd.get(), address);
  *operation = &connect;
  result = co_await connect;
  *operation = nullptr;
}

class Doorman final : public Accept {
 public:
  using Accept::Accept;

  std::vector<Fd> guests;
  std::vector<int> endings;

 private:
  void accepted(int fd) override { guests.emplace_back(fd); }
  void ended(int error) override { endings.push_back(error); }
};

constexpr int kUnanswered = 1 << 20;

}  // namespace

TEST_CASE("peek waits for bytes, shows them and leaves them in the socket") {
  const auto loop = make_loop();
  const auto buffers = *BufferGroup::create(*loop, 0, 4, 4096);
  const Pair pair = tcp_pair();
  std::vector<std::string> seen;
  int result = kUnanswered;
  peek(*loop, pair.ours, *buffers, PeekMode::kAtOnce, seen, result);
  CHECK(result == kUnanswered);
  send_text(pair.peer, "hello");
  turn_until(*loop, [&] { return result != kUnanswered; });
  CHECK(seen == std::vector<std::string>{"hello"});
  char again[16];
  CHECK(::recv(pair.ours.get(), again, sizeof again, 0) == 5);
}

TEST_CASE("peek that waits for readability honours SO_RCVLOWAT") {
  const auto loop = make_loop();
  const auto buffers = *BufferGroup::create(*loop, 0, 4, 4096);
  const Pair pair = tcp_pair();
  const int low_water = 8;
  REQUIRE(::setsockopt(pair.ours.get(), SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof low_water) ==
          0);
  std::vector<std::string> seen;
  int result = kUnanswered;
  send_text(pair.peer, "1234567");
  peek(*loop, pair.ours, *buffers, PeekMode::kWhenReadable, seen, result);
  for (int i = 0; i < 3; ++i) {  // turns that find nothing to do
    loop->wake();
    loop->wait();
    loop->dispatch();
  }
  CHECK(result == kUnanswered);
  send_text(pair.peer, "8");
  turn_until(*loop, [&] { return result != kUnanswered; });
  CHECK(seen == std::vector<std::string>{"12345678"});
}

TEST_CASE("peek answers 0 at the end of the stream, and the reset of a reset stream") {
  const auto loop = make_loop();
  const auto buffers = *BufferGroup::create(*loop, 0, 4, 4096);
  std::vector<std::string> seen;
  int result = kUnanswered;
  Pair pair = tcp_pair();
  SECTION("end") {
    ::shutdown(pair.peer.get(), SHUT_WR);
    peek(*loop, pair.ours, *buffers, PeekMode::kAtOnce, seen, result);
    turn_until(*loop, [&] { return result != kUnanswered; });
    CHECK(result == 0);
  }
  SECTION("reset") {
    peek(*loop, pair.ours, *buffers, PeekMode::kAtOnce, seen, result);
    const linger abort{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(pair.peer.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    pair.peer.reset();
    turn_until(*loop, [&] { return result != kUnanswered; });
    CHECK(result == -ECONNRESET);
  }
  CHECK(seen == std::vector<std::string>{""});
}

TEST_CASE("a group that runs dry says ENOBUFS, and its buffers come back") {
  const auto loop = make_loop();
  const auto buffers = *BufferGroup::create(*loop, 0, 2, 4096);
  std::vector<Pair> pairs;
  std::vector<int> results(5, kUnanswered);
  std::vector<std::string> seen;
  for (int i = 0; i < 5; ++i) {
    pairs.push_back(tcp_pair());
    send_text(pairs.back().peer, "x");
    peek(*loop, pairs.back().ours, *buffers, PeekMode::kAtOnce, seen, results[i]);
  }
  turn_until(*loop, [&] { return seen.size() == 5; });
  CHECK(std::ranges::count(results, 1) == 2);
  CHECK(std::ranges::count(results, -ENOBUFS) == 3);
  for (int round = 0; round < 10; ++round) {
    int result = kUnanswered;
    peek(*loop, pairs[0].ours, *buffers, PeekMode::kAtOnce, seen, result);
    turn_until(*loop, [&] { return result != kUnanswered; });
    CHECK(result == 1);
  }
}

TEST_CASE("receive takes bytes out of the socket, and answers their number, the end or the reset") {
  const auto loop = make_loop();
  const Pair pair = tcp_pair();
  std::string bytes;
  int result = kUnanswered;
  receive(*loop, pair.ours, bytes, result);
  send_text(pair.peer, "hello");
  turn_until(*loop, [&] { return result != kUnanswered; });
  CHECK(bytes == "hello");
  REQUIRE(::shutdown(pair.peer.get(), SHUT_WR) == 0);
  result = kUnanswered;
  receive(*loop, pair.ours, bytes, result);
  turn_until(*loop, [&] { return result != kUnanswered; });
  CHECK(result == 0);

  Pair other = tcp_pair();
  net::reset_on_close(other.peer.get());
  other.peer.reset();
  result = kUnanswered;
  receive(*loop, other.ours, bytes, result);
  turn_until(*loop, [&] { return result != kUnanswered; });
  CHECK(result == -ECONNRESET);
}

TEST_CASE("connect answers success, refusal and cancellation") {
  const auto loop = make_loop();
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  Connect* operation = nullptr;
  int result = kUnanswered;
  SECTION("success") {
    const TcpListener listener;
    connect_to(*loop, fd, listener.address, &operation, result);
    turn_until(*loop, [&] { return result != kUnanswered; });
    CHECK(result == 0);
  }
  SECTION("refusal") {
    SocketAddress address;
    {
      const TcpListener listener;
      address = listener.address;
    }
    connect_to(*loop, fd, address, &operation, result);
    turn_until(*loop, [&] { return result != kUnanswered; });
    CHECK(result == -ECONNREFUSED);
  }
  SECTION("cancellation") {
    // A listener with a full backlog drops further SYNs: the connection stays in SYN_SENT.
    const TcpListener listener;
    REQUIRE(::listen(listener.fd.get(), 0) == 0);
    std::vector<Fd> fillers;
    for (int i = 0; i < 4; ++i) {
      fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      ::connect(fillers.back().get(), listener.address.data(), listener.address.size());
    }
    connect_to(*loop, fd, listener.address, &operation, result);
    loop->wake();
    loop->wait();
    loop->dispatch();
    REQUIRE(result == kUnanswered);
    operation->interrupt();
    turn_until(*loop, [&] { return result != kUnanswered; });
    CHECK(result == -ECANCELED);
  }
}

TEST_CASE("a standing accept takes every connection, non-blocking, and ends when it is told to") {
  const auto loop = make_loop();
  const TcpListener listener;
  Doorman doorman(*loop);
  doorman.start(listener.fd.get());
  std::vector<Fd> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(connected_to(listener));
  turn_until(*loop, [&] { return doorman.guests.size() == 20; });
  for (const Fd& guest : doorman.guests) {
    CHECK((::fcntl(guest.get(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(guest.get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(doorman.endings.empty());
  doorman.stop();
  turn_until(*loop, [&] { return !doorman.endings.empty(); });
  CHECK(doorman.endings == std::vector<int>{-ECANCELED});
}

TEST_CASE("a watch reports data, the end of the stream and a reset, until it is stopped") {
  const auto loop = make_loop();
  Event event(*loop);
  Poll poll(*loop, event);
  Pair pair = tcp_pair();
  unsigned seen = 0;
  poll.start(pair.ours.get(), POLLIN | POLLOUT | POLLRDHUP);
  turn_until(*loop, [&] { return ((seen |= poll.take()) & POLLOUT) != 0; });
  CHECK((seen & POLLIN) == 0);
  send_text(pair.peer, "a");
  turn_until(*loop, [&] { return ((seen |= poll.take()) & POLLIN) != 0; });
  ::shutdown(pair.peer.get(), SHUT_WR);
  turn_until(*loop, [&] { return ((seen |= poll.take()) & POLLRDHUP) != 0; });
  CHECK((seen & POLLERR) == 0);
  const linger abort{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(pair.peer.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  pair.peer.reset();
  turn_until(*loop, [&] { return ((seen |= poll.take()) & POLLERR) != 0; });
  poll.stop();
  turn_until(*loop, [&] { return !poll.in_flight(); });
}

TEST_CASE(
    "watches survive a completion queue that overflows: every edge is reported, or comes again") {
  const auto loop = make_loop();
  Event event(*loop);
  constexpr int kSockets = 64;
  std::vector<Pair> pairs;
  std::vector<std::unique_ptr<Poll>> watches;
  for (int i = 0; i < kSockets; ++i) {
    pairs.push_back(tcp_pair());
    watches.push_back(std::make_unique<Poll>(*loop, event));
    watches.back()->start(pairs.back().ours.get(), POLLIN | POLLRDHUP);
  }
  loop->wake();
  loop->wait();
  loop->dispatch();
  // No completion is reaped while the kernel posts more of them than the queue holds.
  const int rounds = static_cast<int>(kCompletionEntries) / kSockets + 50;
  for (int round = 0; round < rounds; ++round) {
    for (const Pair& pair : pairs) send_text(pair.peer, "x");
    static_cast<void>(io_uring_get_events(&loop->raw()));
  }
  std::vector<unsigned> seen(kSockets, 0);
  const auto all_reported = [&] {
    bool all = true;
    for (int i = 0; i < kSockets; ++i) {
      seen[i] |= watches[i]->take();
      all = all && (seen[i] & POLLIN) != 0;
    }
    return all;
  };
  turn_until(*loop, all_reported);
  std::ranges::fill(seen, 0u);
  for (const Pair& pair : pairs) send_text(pair.peer, "y");  // and all of them still stand
  turn_until(*loop, all_reported);
  for (const auto& watch : watches) watch->stop();
  turn_until(*loop, [&] { return loop->in_flight() == 0; });
}

TEST_CASE(
    "a splice moves bytes from socket to pipe, says EAGAIN on an empty socket and 0 at its end") {
  const auto loop = make_loop();
  Event event(*loop);
  Splice splice(*loop);
  const Pair pair = tcp_pair();
  int ends[2];
  REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
  const Fd read_end(ends[0]);
  const Fd write_end(ends[1]);
  const auto answer = [&] {
    splice.start(pair.ours.get(), write_end.get(), 65536, event);
    turn_until(*loop, [&] { return splice.has_result(); });
    return splice.take();
  };
  CHECK(answer() == -EAGAIN);
  send_text(pair.peer, "12345");
  CHECK(answer() == 5);
  CHECK_FALSE(splice.has_result());
  ::shutdown(pair.peer.get(), SHUT_WR);
  CHECK(answer() == 0);
}
