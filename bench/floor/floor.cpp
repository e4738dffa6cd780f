// SPDX-License-Identifier: Apache-2.0
// The least that a TCP relay must do on this kernel: accept, connect, move, end. No name, no route,
// no counter, no timer, no limit. What a proxy costs beside it is the proxy's own.
//
//   floor splice|copy LISTEN BACKEND THREADS
//
// Addresses are IPv4 with a port. Each thread has a listener of its own (SO_REUSEPORT) and one
// epoll, edge-triggered: a socket costs one epoll_ctl(2) in its life. `splice` moves bytes through
// pipes of the thread, `copy` through a buffer of it. Runs until it is killed.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.hpp"

namespace {

using mc::Fd;

// What one direction moves before another connection has its turn, as in src/proxy/limits.hpp.
constexpr std::size_t kBytesPerTurn = 1024 * 1024;
// The pipe that a thread uses most, in bytes; the others have the kernel's 64 KiB.
constexpr int kFirstPipeBytes = 1024 * 1024;
constexpr std::size_t kPageBytes = 4096;
// As nginx's larger buffer in bench/peers/peers.py, which is the faster one for bulk.
constexpr std::size_t kBufferBytes = 64 * 1024;
constexpr int kBacklog = 16'384;

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Pipe {
  Fd read_end, write_end;
  std::size_t capacity = 0;
  std::size_t slots = 0;
  std::size_t bytes = 0;  // in it
};

// Free pipes, last in, first out: the one that is warm is used again.
class Pipes {
 public:
  std::unique_ptr<Pipe> take() {
    if (!free_.empty()) {
      auto pipe = std::move(free_.back());
      free_.pop_back();
      return pipe;
    }
    int ends[2];
    if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) give_up("pipe2");
    auto pipe = std::make_unique<Pipe>();
    pipe->read_end = Fd(ends[0]);
    pipe->write_end = Fd(ends[1]);
    if (std::exchange(is_first_, false)) ::fcntl(ends[1], F_SETPIPE_SZ, kFirstPipeBytes);
    pipe->capacity = static_cast<std::size_t>(::fcntl(ends[1], F_GETPIPE_SZ));
    pipe->slots = pipe->capacity / kPageBytes;
    return pipe;
  }
  void give(std::unique_ptr<Pipe> pipe) { free_.push_back(std::move(pipe)); }

 private:
  std::vector<std::unique_ptr<Pipe>> free_;
  bool is_first_ = true;
};

struct Connection;

// One of the two sockets. Edges: `readable` and `writable` until an attempt finds otherwise.
struct Side {
  Connection* connection = nullptr;
  Fd fd;
  bool readable = false;
  bool writable = false;
  bool hung_up = false;
};

// Bytes that were taken and not given yet, from one side to the other.
struct Direction {
  std::unique_ptr<Pipe> pipe;  // splice
  std::string rest;            // copy
  bool ended = false;          // the source has
  bool finished = false;       // the end was passed on
};

struct Connection {
  Side client, backend;
  Direction up, down;
  bool is_over = false;
  bool waits = false;  // in Relay::again_
};

enum class Moved { kAll, kShare, kFailed };  // until nothing is left for now, or the turn's share

class Relay {
 public:
  Relay(bool copies, const sockaddr_in& listen, const sockaddr_in& backend)
      : copies_(copies), backend_(backend), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    ::setsockopt(listener_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // inherited
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&listen), sizeof listen) != 0 ||
        ::listen(listener_.get(), kBacklog) != 0) {
      give_up("listen");
    }
    watch(listener_.get(), EPOLLIN, nullptr);
    if (copies_) buffer_.resize(kBufferBytes);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count =
          ::epoll_wait(epoll_.get(), events.data(), events.size(), again_.empty() ? -1 : 0);
      std::vector<Connection*> turns = std::exchange(again_, {});
      for (Connection* connection : turns) connection->waits = false;
      for (int i = 0; i < count; ++i) {
        auto* side = static_cast<Side*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (side == nullptr) {
          accept_all();
        } else {
          note(*side, events[static_cast<std::size_t>(i)].events);
          turn(*side->connection);
        }
      }
      for (Connection* connection : turns) turn(*connection);
      for (Connection* connection : over_) delete connection;
      over_.clear();
    }
  }

 private:
  void watch(int fd, std::uint32_t what, Side* side) {
    epoll_event event{.events = what, .data = {.ptr = side}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) give_up("epoll_ctl");
  }

  void accept_all() {
    for (;;) {
      Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!client) return;
      Fd backend(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (!backend) continue;
      const int on = 1;
      ::setsockopt(backend.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (::connect(backend.get(), reinterpret_cast<const sockaddr*>(&backend_), sizeof backend_) !=
              0 &&
          errno != EINPROGRESS) {
        continue;
      }
      auto* connection = new Connection;  // until it is over
      for (auto [side, fd] :
           {std::pair{&connection->client, &client}, std::pair{&connection->backend, &backend}}) {
        side->connection = connection;
        side->fd = std::move(*fd);
        watch(side->fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, side);
      }
    }
  }

  static void note(Side& side, std::uint32_t events) {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) side.readable = true;
    if ((events & EPOLLOUT) != 0) side.writable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) side.hung_up = true;
  }

  void turn(Connection& connection) {
    if (connection.is_over) return;
    const Moved up = move(connection.client, connection.backend, connection.up);
    const Moved down = move(connection.backend, connection.client, connection.down);
    if (up == Moved::kFailed || down == Moved::kFailed) return end(connection, true);
    if (connection.up.finished && connection.down.finished) return end(connection, false);
    if ((up == Moved::kShare || down == Moved::kShare) && !connection.waits) {
      connection.waits = true;
      again_.push_back(&connection);
    }
  }

  void end(Connection& connection, bool with_reset) {
    connection.is_over = true;
    for (Side* side : {&connection.client, &connection.backend}) {
      const linger reset{.l_onoff = 1, .l_linger = 0};
      if (with_reset) {
        ::setsockopt(side->fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      }
      side->fd.reset();
    }
    for (Direction* direction : {&connection.up, &connection.down}) {
      if (direction->pipe != nullptr && direction->pipe->bytes == 0) {
        pipes_.give(std::move(direction->pipe));
      }
    }
    over_.push_back(&connection);  // events of this batch may still name it
  }

  Moved move(Side& from, Side& to, Direction& direction) {
    const Moved moved = copies_ ? copy(from, to, direction) : splice_through(from, to, direction);
    if (moved == Moved::kAll && direction.ended && !direction.finished &&
        direction.pipe == nullptr && direction.rest.empty()) {
      if (::shutdown(to.fd.get(), SHUT_WR) != 0) return Moved::kFailed;
      direction.finished = true;
    }
    return moved;
  }

  Moved splice_through(Side& from, Side& to, Direction& direction) {
    for (std::size_t total = 0; total < kBytesPerTurn;) {
      if (direction.pipe == nullptr) {
        if (direction.ended || !from.readable) return Moved::kAll;
        direction.pipe = pipes_.take();
        const ssize_t taken =
            splice_once(from.fd, direction.pipe->write_end, direction.pipe->capacity);
        if (taken <= 0) {
          pipes_.give(std::move(direction.pipe));
          if (taken < 0 && errno != EAGAIN) return Moved::kFailed;
          from.readable = false;
          direction.ended = taken == 0;
          return Moved::kAll;
        }
        direction.pipe->bytes = static_cast<std::size_t>(taken);
        // A pipe that took fewer bytes than it has slots was not full, so the socket is empty.
        if (direction.pipe->bytes < direction.pipe->slots && !from.hung_up) from.readable = false;
      }
      if (!to.writable) return Moved::kAll;
      const ssize_t given = splice_once(direction.pipe->read_end, to.fd, direction.pipe->bytes);
      if (given < 0) {
        if (errno != EAGAIN) return Moved::kFailed;
        to.writable = false;
        return Moved::kAll;
      }
      direction.pipe->bytes -= static_cast<std::size_t>(given);
      total += static_cast<std::size_t>(given);
      if (direction.pipe->bytes == 0) pipes_.give(std::move(direction.pipe));
    }
    return Moved::kShare;
  }

  static ssize_t splice_once(const Fd& from, const Fd& to, std::size_t most) {
    return ::splice(from.get(), nullptr, to.get(), nullptr, most,
                    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  }

  Moved copy(Side& from, Side& to, Direction& direction) {
    for (std::size_t total = 0; total < kBytesPerTurn;) {
      if (!direction.rest.empty()) {
        if (!to.writable) return Moved::kAll;
        const ssize_t given = send_once(to, direction.rest);
        if (given < 0) return Moved::kFailed;
        direction.rest.erase(0, static_cast<std::size_t>(given));
        total += static_cast<std::size_t>(given);
        continue;
      }
      if (direction.ended || !from.readable) return Moved::kAll;
      const ssize_t taken = ::recv(from.fd.get(), buffer_.data(), buffer_.size(), 0);
      if (taken <= 0) {
        if (taken < 0 && errno != EAGAIN) return Moved::kFailed;
        from.readable = false;
        direction.ended = taken == 0;
        return Moved::kAll;
      }
      const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(taken));
      if (bytes.size() < buffer_.size() && !from.hung_up) from.readable = false;
      const ssize_t given = to.writable ? send_once(to, bytes) : 0;
      if (given < 0) return Moved::kFailed;
      direction.rest = bytes.substr(static_cast<std::size_t>(given));
      total += static_cast<std::size_t>(given);
    }
    return Moved::kShare;
  }

  // 0: it takes nothing now. -1: it is lost.
  static ssize_t send_once(Side& to, std::string_view bytes) {
    const ssize_t given = ::send(to.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (given >= 0 && static_cast<std::size_t>(given) == bytes.size()) return given;
    if (given < 0 && errno != EAGAIN) return -1;
    to.writable = false;
    return given < 0 ? 0 : given;
  }

  const bool copies_;
  const sockaddr_in backend_;
  const Fd epoll_;
  Fd listener_;
  Pipes pipes_;
  std::vector<char> buffer_;
  std::vector<Connection*> again_;  // have used up their share of a turn
  std::vector<Connection*> over_;
};

std::optional<sockaddr_in> parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  std::uint16_t port = 0;
  const auto digits = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool is_address =
      ::inet_pton(AF_INET, std::string(text.substr(0, colon)).c_str(), &address.sin_addr) == 1;
  if (!is_address || error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  address.sin_port = htons(port);
  return address;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  const bool is_known = words.size() == 4 && (words[0] == "splice" || words[0] == "copy");
  const auto listen = is_known ? parse(words[1]) : std::nullopt;
  const auto backend = is_known ? parse(words[2]) : std::nullopt;
  const int threads = is_known ? std::atoi(argv[4]) : 0;
  if (!listen || !backend || threads < 1) {
    std::fputs("usage: floor splice|copy 127.0.0.1:7008 127.0.0.1:443 THREADS\n", stderr);
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::jthread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&] { Relay(words[0] == "copy", *listen, *backend).run(); });
  }
}
