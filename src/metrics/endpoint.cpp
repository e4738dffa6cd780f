// SPDX-License-Identifier: Apache-2.0
#include "metrics/endpoint.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/descriptor_limit.hpp"
#include "base/quote.hpp"
#include "net/sockets.hpp"

namespace mc::metrics {

Result<Fd> open_listener(const SocketAddress& address) {
  const std::string name = fmt::format("metrics.addr {}", quote(address.to_string()));
  auto opened = net::open_listeners({.address = address, .name = name}, 1);
  if (!opened.has_value()) return std::unexpected(opened.error());
  return std::move(opened->front());
}

Result<std::unique_ptr<Endpoint>> Endpoint::start(Fd listener, Text text) {
  SocketAddress bound;
  socklen_t size = SocketAddress::kCapacity;
  Fd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop || ::getsockname(listener.get(), bound.data(), &size) != 0) {
    return fail(fmt::format("metrics.addr: {}", std::strerror(errno)));
  }
  std::unique_ptr<Endpoint> endpoint(
      new Endpoint(std::move(listener), std::move(stop), bound, std::move(text)));
  endpoint->thread_ = std::thread([self = endpoint.get()] { self->run(); });
  return endpoint;
}

Endpoint::Endpoint(Fd listener, Fd stop, const SocketAddress& address, Text text)
    : listener_(std::move(listener)),
      stop_(std::move(stop)),
      address_(address),
      make_text_(std::move(text)) {}

Endpoint::~Endpoint() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(stop_.get(), &one, sizeof one));
  thread_.join();
}

void Endpoint::run() {
  static_cast<void>(::pthread_setname_np(::pthread_self(), "metrics"));
  std::vector<pollfd> watched;
  for (;;) {
    const bool resting = Clock::now() < rest_until_;
    watched.clear();
    watched.push_back({.fd = stop_.get(), .events = POLLIN, .revents = 0});
    watched.push_back({.fd = resting ? -1 : listener_.get(), .events = POLLIN, .revents = 0});
    for (const Connection& connection : connections_) {
      const bool writing = connection.stage == Connection::Stage::kWriting;
      watched.push_back({.fd = connection.fd.get(),
                         .events = static_cast<short>(writing ? POLLOUT : POLLIN),
                         .revents = 0});
    }
    static_cast<void>(::poll(watched.data(), watched.size(), wait_ms()));
    if (watched[0].revents != 0) return;

    const auto now = Clock::now();
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      Connection& connection = connections_[i];
      const bool ready = watched[i + 2].revents != 0;
      const bool ended = ready && advance(connection) == Progress::kEnded;
      if (ended || now >= connection.deadline) connection.fd.reset();
    }
    std::erase_if(connections_, [](const Connection& connection) { return !connection.fd; });
    if (watched[1].revents != 0) accept_one();
  }
}

// Until the next deadline; without one, until something happens.
int Endpoint::wait_ms() const {
  auto next = Instant::max();
  for (const Connection& connection : connections_) next = std::min(next, connection.deadline);
  const auto now = Clock::now();
  if (now < rest_until_) next = std::min(next, rest_until_);
  if (next == Instant::max()) return -1;
  return static_cast<int>(std::max<std::int64_t>((next - now).count(), 0));
}

// ---- accepting

void Endpoint::accept_one() {
  Fd fd = accept();
  if (!fd) return;
  if (connections_.size() == kConnectionsMax) make_room();
  connections_.push_back({.fd = std::move(fd), .deadline = Clock::now() + kAnswerWaitMax});
}

Fd Endpoint::accept() {
  Fd fd = open_for_operator([this] {
    return Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  });
  // An error of one client ends with its connection; after others, poll must not spin.
  if (!fd && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
    rest_until_ = Clock::now() + kAcceptPause;
  }
  return fd;
}

void Endpoint::make_room() {
  const auto silent =
      std::ranges::find(connections_, Connection::Stage::kReading, &Connection::stage);
  connections_.erase(silent != connections_.end() ? silent : connections_.begin());
}

// ---- one connection

Endpoint::Progress Endpoint::advance(Connection& connection) {
  switch (connection.stage) {
    case Connection::Stage::kReading:
      return read(connection);
    case Connection::Stage::kWriting:
      return write(connection);
    case Connection::Stage::kEnding:
      break;
  }
  return drain(connection);
}

Endpoint::Progress Endpoint::read(Connection& connection) {
  std::array<char, 4096> buffer;
  const ssize_t got = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
  if (got < 0 && errno == EAGAIN) return Progress::kWaits;
  if (got <= 0) return Progress::kEnded;
  connection.request.append(buffer.data(), static_cast<std::size_t>(got));
  const RequestKind request = read_request(connection.request);
  if (request == RequestKind::kIncomplete) return Progress::kWaits;
  respond(connection, request);
  return write(connection);
}

void Endpoint::respond(Connection& connection, RequestKind request) {
  connection.stage = Connection::Stage::kWriting;
  connection.body = request == RequestKind::kScrape
                        ? fresh_text()
                        : std::make_shared<const std::string>(body_of(request));
  connection.head = head_of_answer(request, connection.body->size());
}

std::shared_ptr<const std::string> Endpoint::fresh_text() {
  if (text_ == nullptr || Clock::now() - text_made_at_ >= kTextAgeMax) {
    text_ = std::make_shared<const std::string>(make_text_());
    text_made_at_ = Clock::now();
  }
  return text_;
}

Endpoint::Progress Endpoint::write(Connection& connection) {
  const std::string_view parts[] = {connection.head, *connection.body};
  const std::size_t size = parts[0].size() + parts[1].size();
  while (connection.sent < size) {
    const bool in_head = connection.sent < parts[0].size();
    const std::string_view rest = in_head ? parts[0].substr(connection.sent)
                                          : parts[1].substr(connection.sent - parts[0].size());
    const ssize_t sent = ::send(connection.fd.get(), rest.data(), rest.size(),
                                MSG_NOSIGNAL | (in_head ? MSG_MORE : 0));
    if (sent < 0 && errno == EAGAIN) return Progress::kWaits;
    if (sent < 0) return Progress::kEnded;
    connection.sent += static_cast<std::size_t>(sent);
  }
  // Not closed yet: if the client sent more than was read, a close would send a reset, which could
  // destroy the response on its way.
  if (::shutdown(connection.fd.get(), SHUT_WR) != 0) return Progress::kEnded;
  connection.body.reset();
  connection.stage = Connection::Stage::kEnding;
  return Progress::kWaits;
}

Endpoint::Progress Endpoint::drain(const Connection& connection) {
  std::array<char, 4096> buffer;
  const ssize_t got = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
  const bool more = got > 0 || (got < 0 && errno == EAGAIN);
  return more ? Progress::kWaits : Progress::kEnded;
}

}  // namespace mc::metrics
