// SPDX-License-Identifier: Apache-2.0
#pragma once
// A data plane on 127.0.0.1 with clients and backends, for tests of the whole. All sockets are
// real; every wait ends after kPatience at the most.

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "base/log.hpp"
#include "net/socket_address.hpp"
#include "policy/policy.hpp"
#include "proxy/data_plane.hpp"
#include "support/catch.hpp"
#include "unit/net/loopback.hpp"
#include "unit/policy/routes.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::proxy::testing {

using test::address_of;
using test::listening_socket;
using tls::testing::Bytes;

inline constexpr std::chrono::seconds kPatience{20};

inline const IpAddress kAlice = IpAddress::v4(0x7f000002);
inline const IpAddress kBob = IpAddress::v4(0x7f000003);
inline const IpAddress kCarol = IpAddress::v4(0x7f000004);
inline const IpAddress kHere = IpAddress::v4(0x7f000001);

template <class Condition>
void until(Condition&& condition) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// A TCP socket that will come from this address, and waits no longer than kPatience to receive.
Fd client_socket(const IpAddress& from);
Fd connected_socket(const IpAddress& from, const SocketAddress& to);

// Sends back what it gets, and counts the connections that were reset.
class EchoBackend {
 public:
  EchoBackend() : thread_([this] { run(); }) {}
  ~EchoBackend() {
    const std::uint64_t one = 1;
    static_cast<void>(::write(stop_.get(), &one, sizeof one));
    thread_.join();
  }
  EchoBackend(const EchoBackend&) = delete;
  EchoBackend& operator=(const EchoBackend&) = delete;

  [[nodiscard]] SocketAddress address() const { return address_of(listener_); }
  [[nodiscard]] int resets() const { return resets_; }

 private:
  void run();
  void echo(int fd);

  Fd listener_ = listening_socket(4096);
  Fd stop_{::eventfd(0, EFD_CLOEXEC)};
  std::vector<Fd> connections_;
  std::atomic<int> resets_{0};
  std::thread thread_;
};

// Takes one connection and no other, so that the next dial waits.
class SilentBackend {
 public:
  [[nodiscard]] SocketAddress address() const { return address_of(listener_); }

 private:
  Fd listener_ = listening_socket(0);
  Fd filler_ = connected_socket(kHere, address_of(listener_));
};

// One client of the proxy.
class Client {
 public:
  explicit Client(Fd fd) : fd_(std::move(fd)) {}

  void send(const Bytes& bytes) const;
  /// Sends the bytes and gets them back.
  void echo(const Bytes& bytes) const;
  [[nodiscard]] bool was_reset() const {
    char byte = 0;
    return ::recv(fd_.get(), &byte, 1, 0) < 0 && errno == ECONNRESET;
  }
  [[nodiscard]] bool lives() const {
    char byte = 0;
    return ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  /// Ends in order, and sees the other side do so.
  void finish() const {
    char byte = 0;
    REQUIRE(::shutdown(fd_.get(), SHUT_WR) == 0);
    REQUIRE(::recv(fd_.get(), &byte, 1, 0) == 0);
  }

 private:
  Fd fd_;
};

Bytes hello(std::string_view name);
std::shared_ptr<const policy::Firewall> blocking(std::vector<IpAddress> ips);

// A data plane on 127.0.0.1 whose listeners all have the same routes.
class Plane {
 public:
  struct Destination {
    std::string pattern;
    BackendAddress backend;
  };
  explicit Plane(const std::vector<Destination>& routes, std::size_t workers = 2,
                 std::size_t listeners = 1)
      : table_(table_of(routes)), listeners_(listeners) {
    // A port that was free a moment ago may be taken now: then it tries others.
    for (int attempt = 0; plane_ == nullptr && attempt < 50; ++attempt) start(workers);
    REQUIRE(plane_ != nullptr);
  }

  DataPlane* operator->() { return plane_.get(); }
  [[nodiscard]] Client connect(const IpAddress& from, std::size_t listener = 0) const {
    return Client(connected_socket(from, addresses_[listener]));
  }
  [[nodiscard]] const SocketAddress& address() const { return addresses_.front(); }
  [[nodiscard]] const policy::LiveRoute& route(std::string_view pattern) const {
    return *table_.by_key(policy::pattern_of(pattern), {});
  }
  [[nodiscard]] std::uint64_t ended(Reason reason) const {
    return plane_->totals().ended[static_cast<std::size_t>(reason)];
  }
  void publish(const policy::RouteTable& table, std::shared_ptr<const policy::Firewall> firewall) {
    policy_->publish(policy(table, std::move(firewall)));
    table_ = table;
  }
  [[nodiscard]] const policy::RouteTable& table() const { return table_; }
  [[nodiscard]] std::vector<traffic::Connection> list(const traffic::ConnectionFilter& filter);
  [[nodiscard]] std::string log();

 private:
  static policy::RouteTable table_of(const std::vector<Destination>& routes) {
    policy::RouteTable::Edit table{policy::RouteTable()};
    for (const auto& [pattern, backend] : routes) table.put(policy::live_route(pattern, backend));
    return std::move(table).finish();
  }
  void start(std::size_t workers);
  [[nodiscard]] std::unique_ptr<const policy::Policy> policy(
      const policy::RouteTable& table, std::shared_ptr<const policy::Firewall> firewall) const {
    return std::make_unique<const policy::Policy>(1, std::move(firewall),
                                                  std::vector(listeners_, table));
  }

  Fd log_file_{::memfd_create("log", MFD_CLOEXEC)};
  Log log_{{.priorities = LogPriorities::kNever, .fd = log_file_.get()}};
  policy::RouteTable table_;
  std::size_t listeners_;
  std::vector<SocketAddress> addresses_;
  std::unique_ptr<policy::PublishedPolicy> policy_;
  std::unique_ptr<DataPlane> plane_;
};

inline bool always() { return true; }

}  // namespace mc::proxy::testing
