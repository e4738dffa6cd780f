// SPDX-License-Identifier: Apache-2.0
#include "unit/proxy/plane_fixture.hpp"

#include <sys/epoll.h>

#include <array>
#include <span>

namespace mc::proxy::testing {

Fd client_socket(const IpAddress& from) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress source(from, 0);
  const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
  REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  REQUIRE(::bind(fd.get(), source.data(), source.size()) == 0);
  return fd;
}

Fd connected_socket(const IpAddress& from, const SocketAddress& to) {
  Fd fd = client_socket(from);
  REQUIRE(::connect(fd.get(), to.data(), to.size()) == 0);
  return fd;
}

void EchoBackend::run() {
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  const auto watch = [&epoll](int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  };
  watch(stop_.get());
  watch(listener_.get());
  for (;;) {
    epoll_event event{};
    if (::epoll_wait(epoll.get(), &event, 1, -1) != 1) continue;
    if (event.data.fd == stop_.get()) return;
    if (event.data.fd == listener_.get()) {
      connections_.emplace_back(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      watch(connections_.back().get());
    } else {
      echo(event.data.fd);
    }
  }
}

void EchoBackend::echo(int fd) {
  std::array<char, 16384> buffer;
  const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (got > 0) {
    static_cast<void>(::send(fd, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL));
    return;
  }
  if (got < 0) ++resets_;
  std::erase_if(connections_, [fd](const Fd& each) { return each.get() == fd; });
}

void Client::send(const Bytes& bytes) const {
  REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == std::ssize(bytes));
}

void Client::echo(const Bytes& bytes) const {
  send(bytes);
  Bytes back(bytes.size());
  REQUIRE(::recv(fd_.get(), back.data(), back.size(), MSG_WAITALL) == std::ssize(back));
  REQUIRE(back == bytes);
}

std::string Plane::log() {
  log_.flush();
  std::string text(1 << 20, '\0');
  const ssize_t size = ::pread(log_file_.get(), text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

std::vector<traffic::Connection> Plane::list(const traffic::ConnectionFilter& filter) {
  std::vector<traffic::Connection> all;
  plane_->list(filter, [&all](std::span<const traffic::Connection> some) {
    all.insert(all.end(), some.begin(), some.end());
    return true;
  });
  return all;
}

void Plane::start(std::size_t workers) {
  DataPlaneOptions options;
  addresses_.clear();
  for (std::size_t i = 0; i < listeners_; ++i) {
    addresses_.push_back(address_of(listening_socket(0)));
    options.settings.listener_names.push_back("listener-" + std::to_string(i));
    options.settings.listeners.emplace_back().hello_timeout = std::chrono::minutes(5);
  }
  options.addresses = addresses_;
  options.settings.connect_timeout = std::chrono::minutes(5);
  options.settings.connections_max = 100'000;
  options.cpus.assign(workers, 0);
  policy_ = std::make_unique<policy::PublishedPolicy>(
      policy(table_, std::make_shared<policy::Firewall>()), workers);
  auto started = DataPlane::start(std::move(options), *policy_, log_);
  if (!started.has_value()) return;
  plane_ = std::move(*started);
  plane_->open();
}

Bytes hello(std::string_view name) { return tls::testing::typical_hello(name).stream(); }

std::shared_ptr<const policy::Firewall> blocking(std::vector<IpAddress> ips) {
  return std::make_shared<const policy::Firewall>(
      policy::FirewallRules{.ips = std::move(ips), .cidrs = {}, .countries = {}});
}

}  // namespace mc::proxy::testing
