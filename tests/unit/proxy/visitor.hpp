// SPDX-License-Identifier: Apache-2.0
#pragma once
// A client over TCP that a stage serves, and how tests read from the sockets at both ends of its
// session, on the one thread that turns the loop.

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "net/backend_address.hpp"
#include "net/connect_address.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "unit/proxy/stage.hpp"

namespace mc::proxy::testing {

using Bytes = std::vector<std::uint8_t>;

inline std::string text_of(std::span<const std::uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

inline void turn(Stage& stage) {
  stage.loop->wake();
  stage.loop->wait();
  stage.loop->dispatch();
}

/// Turns the loop while nothing has come to the socket.
inline void await(Stage& stage, const Fd& fd) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  pollfd state{.fd = fd.get(), .events = POLLIN, .revents = 0};
  while (::poll(&state, 1, 1) == 0) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    turn(stage);
  }
}

inline Fd accept(Stage& stage, const Fd& listener) {
  await(stage, listener);
  Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  REQUIRE(accepted);
  return accepted;
}

/// The next bytes; fewer if the stream ends before.
inline std::string receive(Stage& stage, const Fd& fd, std::size_t bytes) {
  std::string text(bytes, '\0');
  std::size_t have = 0;
  while (have < bytes) {
    await(stage, fd);
    const ssize_t got = ::recv(fd.get(), text.data() + have, bytes - have, MSG_DONTWAIT);
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  text.resize(have);
  return text;
}

/// How a stream ends: with 0, or an errno. Drops what comes before.
inline int end_of(Stage& stage, const Fd& fd) {
  for (;;) {
    await(stage, fd);
    char bytes[4096];
    const ssize_t got = ::recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (got <= 0) return got == 0 ? 0 : errno;
  }
}

inline void send(const Fd& fd, std::string_view text, int flags = 0) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | flags) == std::ssize(text));
}

/// A backend at a path of its own.
struct UnixBackend {
  explicit UnixBackend(int backlog = 16) {
    const ConnectAddress own = connect_address();
    REQUIRE(::bind(socket.get(), own.data(), own.size()) == 0);
    REQUIRE(::listen(socket.get(), backlog) == 0);
  }
  [[nodiscard]] ConnectAddress connect_address() const {
    return ConnectAddress::unix_socket(address.path());
  }

  test::TempDir directory;
  BackendAddress address = *BackendAddress::parse("unix:" + directory.file("app.sock"));
  Fd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

class Visitor {
 public:
  explicit Visitor(Stage& stage, const IpAddress& from = IpAddress::v4(0x7f000001))
      : stage_(stage) {
    const Fd listener = listening_socket();
    server_ = test::address_of(listener);
    const SocketAddress source(from, 0);
    REQUIRE(::bind(fd.get(), source.data(), source.size()) == 0);
    REQUIRE(::connect(fd.get(), server_.data(), server_.size()) == 0);
    address_ = test::address_of(fd);
    serve(stage.context, 0, testing::accept(stage, listener), address_);
  }
  ~Visitor() {
    for (LiveConnection* const session : stage_.sessions) session->interrupt(Reason::kShutdown);
    test::turn_until(*stage_.loop, [this] { return stage_.sessions.empty(); });
  }
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;

  void send(std::string_view text, int flags = 0) const { testing::send(fd, text, flags); }
  /// Byte by byte, each in a segment and a turn of its own.
  void dribble(std::string_view text) const {
    for (const char byte : text) {
      send({&byte, 1});
      turn(stage_);
    }
  }
  [[nodiscard]] std::string receive(std::size_t bytes) const {
    return testing::receive(stage_, fd, bytes);
  }
  /// How its own stream ends.
  [[nodiscard]] int end() const { return end_of(stage_, fd); }
  void reset() {
    net::reset_on_close(fd.get());
    fd.reset();
  }

  /// Of its session, which is the only one.
  [[nodiscard]] LiveConnection& session() const { return **stage_.sessions.begin(); }
  [[nodiscard]] const traffic::ConnectionFacts& facts() const { return session().facts(); }
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  /// Where it connected to.
  [[nodiscard]] const SocketAddress& server() const { return server_; }

  void pass(Clock::duration time) const {
    turn(stage_);
    stage_.loop->timers().advance(stage_.loop->now() + time);
  }
  /// Why the session has ended, which is the first one to end.
  [[nodiscard]] Reason ended() const {
    test::turn_until(*stage_.loop, [this] { return stage_.sessions.empty(); });
    for (std::size_t i = 0; i < traffic::kReasons; ++i) {
      const auto reason = static_cast<Reason>(i);
      if (stage_.counters.per_listener[0].of(reason).value() > 0) return reason;
    }
    return Reason::kNone;
  }

  Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

 private:
  Stage& stage_;
  SocketAddress address_, server_;
};

}  // namespace mc::proxy::testing
