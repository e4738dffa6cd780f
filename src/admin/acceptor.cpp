// SPDX-License-Identifier: Apache-2.0
#include "admin/acceptor.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <utility>

#include "admin/limits.hpp"
#include "base/assert.hpp"
#include "base/descriptor_limit.hpp"
#include "net/unix_socket.hpp"

namespace mc::admin {
namespace {

bool is_out_of_resources(int error) {
  return out_of_descriptors(error) || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

std::unique_ptr<Acceptor> Acceptor::make(std::size_t connections_max) {
  Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop) return nullptr;
  return std::unique_ptr<Acceptor>(new Acceptor(std::move(stop), connections_max));
}

Acceptor::Acceptor(Fd stop, std::size_t connections_max)
    : connections_max_(connections_max), stop_(std::move(stop)) {}

Acceptor::~Acceptor() { stop(); }

void Acceptor::start(const Fd& listener, Handler handler) {
  MC_ASSERT(!thread_.joinable(), "one thread accepts, from start() to stop()");
  handler_ = std::move(handler);
  thread_ = std::thread([this, fd = listener.get()] { run(fd); });
}

void Acceptor::stop() {
  if (!thread_.joinable()) return;
  std::uint64_t count = 1;
  [[maybe_unused]] auto ignored = ::write(stop_.get(), &count, sizeof(count));
  thread_.join();
  ignored = ::read(stop_.get(), &count, sizeof(count));
}

void Acceptor::run(int listener) {
  bool is_paused = false;
  for (;;) {
    pollfd events[] = {{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                       {.fd = is_paused ? -1 : listener, .events = POLLIN, .revents = 0}};
    ::poll(events, std::size(events), is_paused ? static_cast<int>(kAcceptPause.count()) : -1);
    if (events[0].revents != 0) return;
    is_paused = accept_one(listener) == Accepted::kPause;
  }
}

Acceptor::Accepted Acceptor::accept_one(int listener) {
  if (!has_room()) return Accepted::kPause;
  Fd connection = open_for_operator([listener] {
    return Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  });
  if (!connection) return is_out_of_resources(errno) ? Accepted::kPause : Accepted::kNone;
  // Read before the handler gets the connection, which it may close at once.
  const std::uint64_t cookie = net::socket_cookie(connection.get());
  const int fd = handler_(std::move(connection));
  if (fd >= 0) connections_.push_back({.fd = fd, .cookie = cookie});
  return Accepted::kOne;
}

/// gRPC does not report that it closed a connection; its descriptor then has another cookie, or
/// none.
bool Acceptor::has_room() {
  std::erase_if(connections_,
                [](const Connection& one) { return net::socket_cookie(one.fd) != one.cookie; });
  return connections_.size() < connections_max_;
}

}  // namespace mc::admin
