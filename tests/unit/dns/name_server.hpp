// SPDX-License-Identifier: Apache-2.0
#pragma once
// A name server on this machine's loopback, over UDP and TCP, with a thread of its own. It serves
// hosts that the test may change at any time, and records what it was asked.

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "net/socket_address.hpp"
#include "support/catch.hpp"
#include "unit/net/loopback.hpp"

namespace mc::dns::testing {

inline constexpr std::chrono::seconds kPatience{20};

// RFC 1035 sections 3.2.2 and 4.1.1, RFC 3596.
enum class Rcode : std::uint8_t { kNoError = 0, kServFail = 2, kNxDomain = 3, kRefused = 5 };
inline constexpr std::uint16_t kTypeA = 1, kTypeCname = 5, kTypeAaaa = 28;

/// What the server has for a name.
struct Host {
  std::vector<IpAddress> addresses;
  std::uint32_t ttl = 60;
  std::string alias_of;  // with a record of this TTL in front of the addresses; empty: no alias
  std::uint32_t alias_ttl = 60;
  Rcode rcode = Rcode::kNoError;
  std::optional<Rcode> rcode_aaaa;  // empty: as for A
  bool is_silent = false;
  std::chrono::milliseconds first_delay{0};  // of the first reply
};

class NameServer {
 public:
  using Bytes = std::vector<std::uint8_t>;

  /// On a port that the kernel chooses; or, where `address` has a port, on that one.
  explicit NameServer(const SocketAddress& address = *SocketAddress::parse_listen("127.0.0.1:0")) {
    // TCP first: other programs of a busy machine have many of its ports, and few of UDP's.
    tcp_ = bound(SOCK_STREAM, address);
    address_ = test::address_of(tcp_);
    udp_ = bound(SOCK_DGRAM, address_);
    REQUIRE(::listen(tcp_.get(), 8) == 0);
    thread_ = std::thread([this] { run(); });
  }
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;
  ~NameServer() {
    const std::uint64_t one = 1;
    REQUIRE(::write(stop_.get(), &one, sizeof one) == sizeof one);
    thread_.join();
  }

  [[nodiscard]] const SocketAddress& address() const { return address_; }

  /// Names that were never set do not exist.
  void set(const std::string& name, Host host) {
    const std::lock_guard lock(mutex_);
    hosts_[name] = std::move(host);
  }
  void remove(const std::string& name) {
    const std::lock_guard lock(mutex_);
    hosts_.erase(name);
  }
  [[nodiscard]] std::size_t asked(const std::string& name, std::uint16_t type = kTypeA) {
    const std::lock_guard lock(mutex_);
    return asked_[{name, type}];
  }
  /// Waits until it was asked that often for addresses of this type.
  void until_asked(const std::string& name, std::size_t times, std::uint16_t type = kTypeA) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, kPatience, [&] { return asked_[{name, type}] >= times; }));
  }
  [[nodiscard]] std::size_t asked_over_tcp() const { return asked_over_tcp_; }

 private:
  static constexpr std::size_t kHeaderSize = 12;
  static constexpr std::size_t kUdpMax = 1'232;

  static Fd bound(int type, const SocketAddress& address) {
    Fd fd(::socket(address.family(), type | SOCK_CLOEXEC, 0));
    const int on = 1;
    REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    REQUIRE(::bind(fd.get(), address.data(), address.size()) == 0);
    return fd;
  }

  void run() {
    for (;;) {
      pollfd polled[] = {{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                         {.fd = udp_.get(), .events = POLLIN, .revents = 0},
                         {.fd = tcp_.get(), .events = POLLIN, .revents = 0}};
      ::poll(polled, std::size(polled), -1);
      if (polled[0].revents != 0) return;
      if (polled[1].revents != 0) serve_udp();
      if (polled[2].revents != 0) serve_tcp();
    }
  }

  void serve_udp() {
    Bytes query(512);
    SocketAddress client;
    socklen_t size = SocketAddress::kCapacity;
    const auto got = ::recvfrom(udp_.get(), query.data(), query.size(), 0, client.data(), &size);
    if (got <= 0) return;
    query.resize(static_cast<std::size_t>(got));
    Bytes reply = reply_to(query);
    if (reply.empty()) return;
    if (reply.size() > kUdpMax) {
      reply.resize(question_end(query));
      reply[2] |= 0x02;  // TC
      reply[6] = reply[7] = 0;
    }
    static_cast<void>(
        ::sendto(udp_.get(), reply.data(), reply.size(), 0, client.data(), client.size()));
  }

  // Queries of one connection, until the client closes it.
  void serve_tcp() {
    const Fd client(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::uint8_t length[2];
    while (::recv(client.get(), length, sizeof length, MSG_WAITALL) == sizeof length) {
      Bytes query(std::size_t{length[0]} << 8 | length[1]);
      if (::recv(client.get(), query.data(), query.size(), MSG_WAITALL) !=
          static_cast<ssize_t>(query.size())) {
        return;
      }
      ++asked_over_tcp_;
      Bytes reply = reply_to(query);
      put16(reply, 0);
      std::rotate(reply.begin(), reply.end() - 2, reply.end());
      reply[0] = static_cast<std::uint8_t>((reply.size() - 2) >> 8);
      reply[1] = static_cast<std::uint8_t>(reply.size() - 2);
      static_cast<void>(::send(client.get(), reply.data(), reply.size(), MSG_NOSIGNAL));
    }
  }

  static std::size_t question_end(std::span<const std::uint8_t> query) {
    std::size_t at = kHeaderSize;
    while (query[at] != 0) at += query[at] + std::size_t{1};
    return at + 5;
  }
  static std::string name_in(std::span<const std::uint8_t> query) {
    std::string name;
    for (std::size_t at = kHeaderSize; query[at] != 0; at += query[at] + std::size_t{1}) {
      if (!name.empty()) name += '.';
      for (std::size_t i = 1; i <= query[at]; ++i) {
        name += static_cast<char>(query[at + i] | 0x20);  // lower case, or a digit or a hyphen
      }
    }
    return name;
  }

  /// Empty: none.
  Bytes reply_to(std::span<const std::uint8_t> query) {
    const std::size_t end = question_end(query);
    const auto type = static_cast<std::uint16_t>(query[end - 4] << 8 | query[end - 3]);
    const std::string name = name_in(query);
    const std::lock_guard lock(mutex_);
    ++asked_[{name, type}];
    changed_.notify_all();
    const auto found = hosts_.find(name);
    const Host host = found != hosts_.end() ? found->second : Host{.rcode = Rcode::kNxDomain};
    if (found != hosts_.end()) found->second.first_delay = {};
    pollfd stop{.fd = stop_.get(), .events = POLLIN, .revents = 0};
    ::poll(&stop, 1, static_cast<int>(host.first_delay.count()));
    if (host.is_silent) return {};
    Bytes reply(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(end));
    const Rcode rcode = type == kTypeAaaa ? host.rcode_aaaa.value_or(host.rcode) : host.rcode;
    reply[2] = 0x81;                                                                // QR, RD
    reply[3] = static_cast<std::uint8_t>(0x80 | static_cast<std::uint8_t>(rcode));  // RA
    std::memset(&reply[4], 0, 8);
    reply[5] = 1;
    if (rcode == Rcode::kNoError) add_records(reply, host, type);
    return reply;
  }

  static void add_records(Bytes& reply, const Host& host, std::uint16_t type) {
    std::uint16_t count = 0, owner = 0xc000 | kHeaderSize;  // a pointer to the question's name
    if (!host.alias_of.empty()) {
      const Bytes target = encoded(host.alias_of);
      add_record(reply, owner, kTypeCname, host.alias_ttl, target);
      owner = static_cast<std::uint16_t>(0xc000 | (reply.size() - target.size()));
      ++count;
    }
    for (const IpAddress& address : host.addresses) {
      if (address.is_v4() != (type == kTypeA)) continue;
      const auto bytes = std::span(address.bytes()).subspan(address.is_v4() ? 12 : 0);
      add_record(reply, owner, type, host.ttl, bytes);
      ++count;
    }
    reply[6] = static_cast<std::uint8_t>(count >> 8);
    reply[7] = static_cast<std::uint8_t>(count);
  }
  static void add_record(Bytes& reply, std::uint16_t owner, std::uint16_t type, std::uint32_t ttl,
                         std::span<const std::uint8_t> data) {
    put16(reply, owner);
    put16(reply, type);
    put16(reply, 1);  // IN
    put16(reply, static_cast<std::uint16_t>(ttl >> 16));
    put16(reply, static_cast<std::uint16_t>(ttl));
    put16(reply, static_cast<std::uint16_t>(data.size()));
    reply.insert(reply.end(), data.begin(), data.end());
  }
  static void put16(Bytes& bytes, std::uint16_t value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value));
  }
  static Bytes encoded(std::string_view name) {
    Bytes bytes;
    while (!name.empty()) {
      const auto label = name.substr(0, name.find('.'));
      bytes.push_back(static_cast<std::uint8_t>(label.size()));
      bytes.insert(bytes.end(), label.begin(), label.end());
      name.remove_prefix(std::min(name.size(), label.size() + 1));
    }
    bytes.push_back(0);
    return bytes;
  }

  Fd stop_{::eventfd(0, EFD_CLOEXEC)};
  Fd udp_, tcp_;
  SocketAddress address_;
  std::atomic<std::size_t> asked_over_tcp_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Host> hosts_;
  std::map<std::pair<std::string, std::uint16_t>, std::size_t> asked_;
  std::thread thread_;
};

}  // namespace mc::dns::testing
