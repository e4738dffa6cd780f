// SPDX-License-Identifier: Apache-2.0
#include "proxy/data_plane.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/limits.hpp"
#include "proxy/sockets.hpp"
#include "support/catch.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::proxy {
namespace {

using tls::testing::Bytes;

constexpr std::chrono::seconds kPatience{20};

const IpAddress kAlice = IpAddress::v4(0x7f000002);
const IpAddress kBob = IpAddress::v4(0x7f000003);
const IpAddress kCarol = IpAddress::v4(0x7f000004);
const IpAddress kHere = IpAddress::v4(0x7f000001);

template <class Condition>
void until(Condition&& condition) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

SocketAddress address_of(const Fd& fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::kCapacity;
  REQUIRE(::getsockname(fd.get(), address.data(), &size) == 0);
  return address;
}

Fd listening_socket(int backlog) {
  const SocketAddress address(kHere, 0);
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(fd.get(), address.data(), address.size()) == 0);
  REQUIRE(::listen(fd.get(), backlog) == 0);
  return fd;
}

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
  void run() {
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
  void echo(int fd) {
    std::array<char, 16384> buffer;
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got > 0) {
      static_cast<void>(::send(fd, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL));
      return;
    }
    if (got < 0) ++resets_;
    std::erase_if(connections_, [fd](const Fd& each) { return each.get() == fd; });
  }

  Fd listener_ = listening_socket(4096);
  Fd stop_{::eventfd(0, EFD_CLOEXEC)};
  std::vector<Fd> connections_;
  std::atomic<int> resets_{0};
  std::thread thread_;
};

// Takes one connection and no other, so that whoever dials it next waits.
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

  void send(const Bytes& bytes) const {
    REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == std::ssize(bytes));
  }
  /// Sends the bytes and gets them back.
  void echo(const Bytes& bytes) const {
    send(bytes);
    Bytes back(bytes.size());
    REQUIRE(::recv(fd_.get(), back.data(), back.size(), MSG_WAITALL) == std::ssize(back));
    REQUIRE(back == bytes);
  }
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

Bytes hello(std::string_view name) { return tls::testing::typical_hello(name).stream(); }

std::shared_ptr<const policy::Firewall> blocking(std::vector<IpAddress> ips) {
  return std::make_shared<const policy::Firewall>(
      policy::FirewallRules{.ips = std::move(ips), .cidrs = {}, .countries = {}});
}

// A data plane on 127.0.0.1 whose listeners all have the same routes.
class Plane {
 public:
  explicit Plane(std::vector<policy::Route> routes, std::size_t workers = 2,
                 std::size_t listeners = 1)
      : table_(policy::RouteTable::build(std::move(routes))), listeners_(listeners) {
    // A port that was free a moment ago may be taken now: then others are tried.
    for (int attempt = 0; plane_ == nullptr && attempt < 50; ++attempt) start(workers);
    REQUIRE(plane_ != nullptr);
  }

  DataPlane* operator->() { return plane_.get(); }
  [[nodiscard]] Client connect(const IpAddress& from, std::size_t listener = 0) const {
    return Client(connected_socket(from, addresses_[listener]));
  }
  [[nodiscard]] const SocketAddress& address() const { return addresses_.front(); }
  [[nodiscard]] const policy::Route& route(std::string_view pattern) const {
    return *table_.by_pattern(pattern);
  }
  [[nodiscard]] std::uint64_t ended(Reason reason) const {
    return plane_->totals().ended[static_cast<std::size_t>(reason)];
  }
  void publish(const policy::RouteTable& table, std::shared_ptr<const policy::Firewall> firewall) {
    plane_->published().publish(policy(table, std::move(firewall)));
    table_ = table;
  }
  [[nodiscard]] const policy::RouteTable& table() const { return table_; }
  [[nodiscard]] std::vector<Connection> list(const ConnectionFilter& filter) {
    std::vector<Connection> all;
    plane_->list(filter, [&all](std::span<const Connection> some) {
      all.insert(all.end(), some.begin(), some.end());
      return true;
    });
    return all;
  }
  [[nodiscard]] std::string log() {
    log_.flush();
    std::string text(1 << 20, '\0');
    const ssize_t size = ::pread(log_file_.get(), text.data(), text.size(), 0);
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return text;
  }

 private:
  void start(std::size_t workers) {
    DataPlaneOptions options;
    addresses_.clear();
    for (std::size_t i = 0; i < listeners_; ++i) {
      addresses_.push_back(address_of(listening_socket(0)));
      options.settings.listener_names.push_back("listener-" + std::to_string(i));
    }
    options.addresses = addresses_;
    options.settings.hello_timeout = std::chrono::minutes(5);
    options.settings.connect_timeout = std::chrono::minutes(5);
    options.settings.connections_max = 100'000;
    options.cpus.assign(workers, 0);
    auto started = DataPlane::start(std::move(options),
                                    policy(table_, std::make_shared<policy::Firewall>()), log_);
    if (!started.has_value()) return;
    plane_ = std::move(*started);
    plane_->open();
  }
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
  std::unique_ptr<DataPlane> plane_;
};

// So that they can be used up: what a listener asks for is bounded by the limit at that moment.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t most) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{.rlim_cur = most, .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

bool always() { return true; }

std::size_t occurrences(const std::string& text, std::string_view wanted) {
  std::size_t count = 0;
  for (auto at = text.find(wanted); at != text.npos; at = text.find(wanted, at + 1)) ++count;
  return count;
}

}  // namespace

// ---- cut

TEST_CASE("a cut resets the sessions of whom the firewall blocks, in any stage, and no others") {
  EchoBackend echo;
  SilentBackend silent;
  Plane plane({{"echo.test", echo.address()}, {"silent.test", silent.address()}});
  const Bytes whole = hello("echo.test");
  std::vector<Client> blocked;
  std::vector<Client> others;
  constexpr int kOfEach = 4;
  for (int i = 0; i < kOfEach; ++i) {
    for (auto& [from, clients] : {std::pair(kAlice, &blocked), std::pair(kBob, &others)}) {
      clients->push_back(plane.connect(from));  // silent
      clients->push_back(plane.connect(from));  // in the middle of its hello
      clients->back().send(Bytes(whole.begin(), whole.begin() + 100));
      clients->push_back(plane.connect(from));  // waits for its backend
      clients->back().send(hello("silent.test"));
      clients->push_back(plane.connect(from));  // relayed
      clients->back().echo(whole);
    }
  }
  const policy::RouteUsage& dialed = *plane.route("silent.test").usage;
  until([&] { return plane->totals().active == 8 * kOfEach && dialed.active == 2 * kOfEach; });

  plane->cut(blocking({kAlice}));
  for (const Client& client : blocked) CHECK(client.was_reset());
  until(
      [&] { return plane.ended(Reason::kFirewallCut) == 4 * kOfEach && echo.resets() == kOfEach; });
  until([&] { return plane->totals().active == 4 * kOfEach; });
  CHECK(dialed.active == kOfEach);
  CHECK(dialed.dial_failures == 0);
  CHECK(plane.route("echo.test").usage->active == kOfEach);
  for (const Client& client : others) CHECK(client.lives());
  others[1].send(Bytes(whole.begin() + 100, whole.end()));
  others[3].echo(Bytes(1000, 7));
  others[3].finish();
  until([&] { return plane->totals().active == 4 * kOfEach - 1; });
  CHECK(plane.ended(Reason::kFirewallCut) == 4 * kOfEach);
  const std::string log = plane.log();
  CHECK(occurrences(log, "reason=firewall_cut") == 4 * kOfEach);
  CHECK(occurrences(log, "msg=\"connection closed\"") == 2 * kOfEach + 1);
}

TEST_CASE("a cut takes effect on workers that have nothing else to do, and twice on nobody") {
  Plane plane({});
  plane->cut(blocking({kAlice}));  // nobody is there
  const Client client = plane.connect(kAlice);
  until([&] { return plane->totals().active == 1; });
  for (int i = 0; i < 3; ++i) plane->cut(blocking({kAlice}));
  CHECK(client.was_reset());
  until([&] { return plane->totals().active == 0; });
  CHECK(plane.ended(Reason::kFirewallCut) == 1);
}

TEST_CASE("every order to cut is carried out, also when many come at once") {
  Plane plane({});
  std::vector<Client> clients;
  for (std::uint32_t i = 0; i < 5 * kOrdersMax; ++i) {
    clients.push_back(plane.connect(IpAddress::v4(0x7f010001 + i)));
  }
  const Client carol = plane.connect(kCarol);
  until([&] { return plane->totals().active == clients.size() + 1; });
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&plane, &clients, t] {
      for (std::uint32_t i = t; i < clients.size(); i += 4) {
        plane->cut(blocking({IpAddress::v4(0x7f010001 + i)}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Client& client : clients) CHECK(client.was_reset());
  CHECK(carol.lives());
  until([&] { return plane->totals().active == 1; });
  CHECK(plane.ended(Reason::kFirewallCut) == clients.size());
}

TEST_CASE("a cut takes as many turns as it needs, to see all sessions and to end those it must") {
  constexpr std::size_t kMost = std::max(kVisitsPerTurn, 3 * kResetsPerTurn) + 100;
  Plane plane({}, 1);
  std::vector<Client> clients;
  clients.push_back(plane.connect(kAlice));  // the first, so the last that a cut comes to
  until([&] { return plane->totals().active == 1; });
  while (clients.size() < kMost) clients.push_back(plane.connect(kBob));
  until([&] { return plane->totals().active == kMost; });

  plane->cut(blocking({kAlice}));
  CHECK(clients.front().was_reset());
  until([&] { return plane->totals().active == kMost - 1; });

  const auto began = std::chrono::steady_clock::now();
  plane->cut(blocking({kBob}));
  until([&] { return plane->totals().active == 0; });
  const auto took = std::chrono::steady_clock::now() - began;
  INFO(std::chrono::duration_cast<std::chrono::microseconds>(took).count() << " us");
  CHECK(plane.ended(Reason::kFirewallCut) == kMost);
  CHECK(clients.back().was_reset());
}

TEST_CASE("with the policy published first, no blocked client outlives a cut, whenever it came") {
  Plane plane({});
  for (int round = 0; round < 10; ++round) {
    std::vector<Fd> sockets;
    for (int i = 0; i < 50; ++i) sockets.push_back(client_socket(i % 2 == 0 ? kAlice : kBob));
    // Who is refused at once may find out while it connects.
    std::vector<bool> connected;
    std::thread crowd([&] {
      const SocketAddress& to = plane.address();
      for (const Fd& fd : sockets)
        connected.push_back(::connect(fd.get(), to.data(), to.size()) == 0);
    });
    const auto firewall = blocking({kAlice});
    plane.publish({}, firewall);
    plane->cut(firewall);
    crowd.join();
    std::vector<Client> clients;
    for (Fd& fd : sockets) clients.emplace_back(std::move(fd));
    for (std::size_t i = 0; i < clients.size(); ++i) {
      const bool blocked = i % 2 == 0;
      REQUIRE((blocked ? !connected[i] || clients[i].was_reset() : clients[i].lives()));
    }
    until([&] { return plane->totals().active == 25; });
    plane.publish({}, blocking({}));
    clients.clear();
    until([&] { return plane->totals().active == 0; });
  }
}

TEST_CASE("a worker that drains obeys an order to cut, and one that has ended needs none") {
  EchoBackend echo;
  Plane plane({{"*", echo.address()}});
  const Client alice = plane.connect(kAlice);
  const Client bob = plane.connect(kBob);
  alice.echo(hello("a.test"));
  bob.echo(hello("b.test"));
  plane->drain(std::chrono::minutes(5));
  plane->cut(blocking({kAlice}));
  CHECK(alice.was_reset());
  bob.finish();
  pollfd ended{.fd = plane->ended_fd(), .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&ended, 1, 1000 * static_cast<int>(kPatience.count())) == 1);
  plane->cut(blocking({kBob}));
  CHECK(plane.ended(Reason::kFirewallCut) == 1);
  CHECK(plane.ended(Reason::kCompleted) == 1);
}

// ---- list, count and close

TEST_CASE("a listing shows every open connection, in whatever stage it is") {
  EchoBackend echo;
  SilentBackend silent;
  Plane plane({{"*.test", echo.address()}, {"silent.test", silent.address()}}, 2, 2);
  const Client waiting = plane.connect(kAlice);
  const Client dialling = plane.connect(kBob);
  dialling.send(hello("silent.test"));
  const Client relayed = plane.connect(kCarol, 1);
  relayed.echo(hello("a.b.test"));
  relayed.echo(Bytes(1000, 7));
  const policy::RouteUsage& dialed = *plane.route("silent.test").usage;
  until([&] { return plane->totals().active == 3 && dialed.active == 1; });

  std::map<IpAddress, Connection> shown;
  std::set<ConnectionId> ids;
  for (const Connection& connection : plane.list({})) {
    shown[connection.client.ip()] = connection;
    ids.insert(connection.id);
  }
  REQUIRE(shown.size() == 3);
  CHECK(ids.size() == 3);
  CHECK(shown[kAlice].stage == SessionStage::kHello);
  CHECK(shown[kAlice].sni.empty());
  CHECK(shown[kAlice].route.empty());
  CHECK_FALSE(shown[kAlice].backend.has_value());
  CHECK(shown[kBob].stage == SessionStage::kDial);
  CHECK(shown[kBob].sni == "silent.test");
  CHECK(shown[kBob].backend == silent.address());
  CHECK(shown[kBob].bytes_up == 0);
  CHECK(shown[kCarol].stage == SessionStage::kRelay);
  CHECK(shown[kCarol].listener == 1);
  CHECK(shown[kCarol].sni == "a.b.test");
  CHECK(shown[kCarol].route == "*.test");
  CHECK(shown[kCarol].backend == echo.address());
  CHECK(shown[kCarol].bytes_up == hello("a.b.test").size() + 1000);
  CHECK(shown[kCarol].bytes_down == hello("a.b.test").size() + 1000);
  CHECK(shown[kCarol].idle <= shown[kCarol].age);
}

TEST_CASE("a filter chooses by each of its fields, and by all of them together") {
  EchoBackend echo;
  EchoBackend other;
  Plane plane(
      {{"a.test", echo.address()}, {"b.test", other.address()}, {"*.c.test", echo.address()}}, 2,
      2);
  std::vector<Client> clients;
  const auto open = [&](const IpAddress& from, std::string_view name, std::size_t listener) {
    clients.push_back(plane.connect(from, listener));
    clients.back().echo(hello(name));
  };
  open(kAlice, "a.test", 0);
  open(kAlice, "b.test", 1);
  open(kBob, "x.c.test", 0);
  open(kCarol, "a.test", 1);
  const Client silent = plane.connect(kBob, 1);
  until([&] { return plane->totals().active == 5; });

  const auto block = [](std::string_view text) { return *IpPrefix::parse(text); };
  CHECK(plane.list({}).size() == 5);
  CHECK(plane.list({.listener = 1}).size() == 3);
  CHECK(plane.list({.sni = "a.test"}).size() == 2);
  CHECK(plane.list({.sni = "*.test"}).size() == 4);
  CHECK(plane.list({.sni = "*.c.test"}).size() == 1);
  CHECK(plane.list({.source = block("127.0.0.2/32")}).size() == 2);
  CHECK(plane.list({.source = block("127.0.0.2/31")}).size() == 4);
  CHECK(plane.list({.source = block("::/0")}).empty());
  CHECK(plane.list({.backend = other.address()}).size() == 1);
  CHECK(plane.list({.listener = 1, .sni = "a.test", .source = block("127.0.0.4/32")}).size() == 1);
  CHECK(plane.list({.listener = 0, .sni = "a.test", .source = block("127.0.0.4/32")}).empty());
  const auto one = plane.list({.backend = other.address()});
  REQUIRE(one.size() == 1);
  CHECK(plane.list({.id = one.front().id}).front().sni == "b.test");
  CHECK(plane->count({.sni = "a.test"}, always) == 2);
  for (const Client& client : clients) CHECK(client.lives());
}

TEST_CASE("what is closed are those that match, once each, and the others live on") {
  EchoBackend echo;
  Plane plane({{"*", echo.address()}});
  std::vector<Client> closed;
  std::vector<Client> others;
  constexpr std::size_t kOfEach = 3 * kResetsPerTurn;
  for (std::size_t i = 0; i < kOfEach; ++i) {
    closed.push_back(plane.connect(kAlice));
    closed.back().echo(hello("a.test"));
    others.push_back(plane.connect(kAlice));
    others.back().echo(hello("b.test"));
  }
  CHECK(plane->close({.sni = "a.test"}, always) == kOfEach);
  CHECK(plane->close({.sni = "a.test"}, always) == 0);
  for (const Client& client : closed) CHECK(client.was_reset());
  until([&] { return plane->totals().active == kOfEach; });
  CHECK(plane.ended(Reason::kClosedByOperator) == kOfEach);
  until([&] { return echo.resets() == kOfEach; });
  for (const Client& client : others) client.echo(Bytes(100, 3));
  CHECK(occurrences(plane.log(), "reason=closed_by_operator") == kOfEach);
}

TEST_CASE("a close that nobody waits for any more leaves the rest open") {
  Plane plane({}, 1);
  std::vector<Client> clients;
  while (clients.size() < 5000) clients.push_back(plane.connect(kAlice));
  until([&] { return plane->totals().active == clients.size(); });
  const std::uint64_t closed = plane->close({}, [] { return false; });
  CHECK(closed < clients.size());
  until([&] { return plane->totals().active == clients.size() - closed; });
  CHECK(plane.list({}).size() == clients.size() - closed);
}

// Takes nothing of a listing until it is told to.
class SlowReader {
 public:
  explicit SlowReader(Plane& plane) : thread_([this, &plane] { read(plane); }) {
    until([this] { return has_rows_.load(); });
  }
  void finish() {
    reads_ = true;
    reads_.notify_one();
    thread_.join();
  }

  std::set<ConnectionId> ids;
  std::size_t rows = 0;
  std::size_t largest = 0;  // number of rows at a time

 private:
  void read(Plane& plane) {
    plane->list({}, [this](std::span<const Connection> some) {
      has_rows_ = has_rows_ || !some.empty();
      reads_.wait(false);
      largest = std::max(largest, some.size());
      rows += some.size();
      for (const Connection& connection : some) ids.insert(connection.id);
      return true;
    });
  }

  std::atomic<bool> reads_{false};
  std::atomic<bool> has_rows_{false};
  std::thread thread_;
};

TEST_CASE("a listing that nobody reads rests, and holds up neither traffic nor other orders") {
  EchoBackend echo;
  Plane plane({{"*", echo.address()}}, 1);
  std::vector<Client> clients;
  // More than a reader that takes once, and the rows that wait then.
  while (clients.size() < 2 * kRowsWaitingMax + 4 * kRowsPerTurn) {
    clients.push_back(plane.connect(kBob));
  }
  until([&] { return plane->totals().active == clients.size(); });
  SlowReader first(plane);
  SlowReader second(plane);
  const Client newcomer = plane.connect(kAlice);
  newcomer.echo(hello("a.test"));
  CHECK(plane.list({.source = *IpPrefix::parse("127.0.0.2/32")}).size() == 1);
  plane->cut(blocking({kAlice}));
  CHECK(newcomer.was_reset());
  clients.erase(clients.end() - 50, clients.end());
  until([&] { return plane->totals().active == clients.size(); });
  first.finish();  // while the second rests
  second.finish();
  for (const SlowReader* const reader : {&first, &second}) {
    // Each once; of those that left in between, some may have been seen before.
    CHECK(reader->rows == reader->ids.size());
    CHECK(reader->rows >= clients.size());
    CHECK(reader->rows <= clients.size() + 50);
    CHECK(reader->largest <= kRowsWaitingMax + kRowsPerTurn);
  }
}

TEST_CASE("a listing ends when its reader wants no more, and many may be under way") {
  Plane plane({});
  std::vector<Client> clients;
  while (clients.size() < 2000) clients.push_back(plane.connect(kBob));
  until([&] { return plane->totals().active == clients.size(); });
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < 3 * kOrdersMax; ++i) {
    readers.emplace_back([&plane] {
      plane->list({}, [](std::span<const Connection> rows) { return rows.empty(); });
    });
  }
  for (std::thread& reader : readers) reader.join();
  CHECK(plane.list({}).size() == clients.size());
}

TEST_CASE("a listing ends with its workers, also while they drain") {
  EchoBackend echo;
  Plane plane({{"*", echo.address()}});
  const Client client = plane.connect(kAlice);
  client.echo(hello("a.test"));
  plane->drain(std::chrono::minutes(5));
  CHECK(plane.list({}).size() == 1);
  client.finish();
  pollfd ended{.fd = plane->ended_fd(), .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&ended, 1, 1000 * static_cast<int>(kPatience.count())) == 1);
  CHECK(plane.list({}).empty());
  CHECK(plane->close({}, always) == 0);
}

// ---- events

TEST_CASE("each end of a connection is one event, told apart as in the log") {
  EchoBackend echo;
  const SocketAddress nobody = address_of(listening_socket(0));
  Plane plane({{"*.test", echo.address()}, {"dead.test", nobody}});
  EventHub::Watch watch(plane->events(), {EventKind::kOpened, EventKind::kClosed,
                                          EventKind::kRefused, EventKind::kDialFailed});
  Events seen;
  const auto next = [&] {
    until([&] {
      const auto more = watch.read(100).events;
      seen.insert(seen.end(), more.begin(), more.end());
      return !seen.empty();
    });
    const auto event = seen.front();
    seen.erase(seen.begin());
    return event;
  };

  const Client client = plane.connect(kAlice);
  client.echo(hello("a.test"));
  const auto opened = next();
  CHECK(opened->kind == EventKind::kOpened);
  CHECK(opened->connection.sni == "a.test");
  CHECK(opened->connection.backend == echo.address());
  client.echo(Bytes(100, 3));
  client.finish();
  const auto closed = next();
  CHECK(closed->kind == EventKind::kClosed);
  CHECK(closed->reason == Reason::kCompleted);
  CHECK(closed->connection.id == opened->connection.id);
  CHECK(closed->connection.client.ip() == kAlice);
  CHECK(closed->connection.route == "*.test");
  CHECK(closed->connection.bytes_up == hello("a.test").size() + 100);

  const Client dead = plane.connect(kBob);
  dead.send(hello("dead.test"));
  CHECK(dead.was_reset());
  const auto failed = next();
  CHECK(failed->kind == EventKind::kDialFailed);
  CHECK(failed->reason == Reason::kDialRefused);
  CHECK(failed->dial_error == ECONNREFUSED);
  CHECK(failed->connection.backend == nobody);

  const Client stray = plane.connect(kBob);
  stray.send(hello("nowhere.example"));
  CHECK(stray.was_reset());
  const auto refused = next();
  CHECK(refused->kind == EventKind::kRefused);
  CHECK(refused->reason == Reason::kNoRoute);
  CHECK(refused->connection.sni == "nowhere.example");

  plane.publish(plane.table(), blocking({kCarol}));
  const Client blocked = plane.connect(kCarol);
  CHECK(blocked.was_reset());
  const auto denied = next();
  CHECK(denied->kind == EventKind::kRefused);
  CHECK(denied->reason == Reason::kBlockedIp);
  CHECK(denied->connection.client.ip() == kCarol);
  CHECK(denied->connection.id.number == 0);
}

TEST_CASE("what ends with its worker is told too") {
  EchoBackend echo;
  Plane plane({{"*", echo.address()}});
  EventHub::Watch watch(plane->events(), {EventKind::kClosed});
  const Client client = plane.connect(kAlice);
  client.echo(hello("a.test"));
  plane->drain(std::chrono::milliseconds(0));
  pollfd ended{.fd = plane->ended_fd(), .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&ended, 1, 1000 * static_cast<int>(kPatience.count())) == 1);
  const auto seen = watch.read(10).events;
  REQUIRE(seen.size() == 1);
  CHECK(seen.front()->reason == Reason::kShutdown);
}

// ---- usage and totals

TEST_CASE(
    "a route counts its connections, their bytes and its backend's failures, and no others'") {
  EchoBackend echo;
  const SocketAddress nobody = address_of(listening_socket(0));
  Plane plane({{"echo.test", echo.address()}, {"dead.test", nobody}, {"*.test", echo.address()}});
  const policy::RouteUsage& usage = *plane.route("echo.test").usage;
  const policy::RouteUsage& dead = *plane.route("dead.test").usage;
  const Bytes first = hello("echo.test");
  const Client silent = plane.connect(kAlice);
  std::vector<Client> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(plane.connect(kAlice));
    clients.back().echo(first);
  }
  CHECK(usage.connections == 6);
  CHECK(usage.active == 6);
  CHECK(usage.bytes_up == 0);

  clients.back().echo(Bytes(100'000, 1));
  for (const Client& client : clients) client.finish();
  until([&] { return usage.active == 0; });
  CHECK(usage.connections == 6);
  CHECK(usage.bytes_up == 6 * first.size() + 100'000);
  CHECK(usage.bytes_down == 6 * first.size() + 100'000);
  CHECK(usage.dial_failures == 0);

  const Client refused = plane.connect(kAlice);
  refused.send(hello("dead.test"));
  CHECK(refused.was_reset());
  until([&] { return dead.connections == 1 && dead.active == 0; });
  CHECK(dead.dial_failures == 1);
  CHECK(dead.bytes_up == 0);
  CHECK(plane.route("*.test").usage->connections == 0);
  CHECK(usage.connections == 6);
}

TEST_CASE("bytes up and down are told apart, also when a session is cut") {
  const Fd backend = listening_socket(1);
  Plane plane({{"*", address_of(backend)}});
  const Bytes first = hello("a.test");
  const Client client = plane.connect(kAlice);
  client.send(first);
  const Fd upstream(::accept4(backend.get(), nullptr, nullptr, SOCK_CLOEXEC));
  Bytes received(first.size());
  REQUIRE(::recv(upstream.get(), received.data(), received.size(), MSG_WAITALL) ==
          std::ssize(first));
  plane->cut(blocking({kAlice}));
  CHECK(client.was_reset());
  const policy::RouteUsage& usage = *plane.route("*").usage;
  until([&] { return usage.active == 0; });
  CHECK(usage.bytes_up == first.size());
  CHECK(usage.bytes_down == 0);
  CHECK(usage.connections == 1);
}

std::uint64_t count_of(const HistogramTotals& totals) {
  return std::reduce(totals.counts.begin(), totals.counts.end());
}

TEST_CASE("a listener's bytes grow while a session runs, and its histograms when a stage ends") {
  EchoBackend echo;
  const SocketAddress nobody = address_of(listening_socket(0));
  Plane plane({{"echo.test", echo.address()}, {"dead.test", nobody}});
  const auto totals = [&plane] { return plane->totals().listeners.front(); };
  const Bytes first = hello("echo.test");
  const Client open = plane.connect(kAlice);
  open.echo(first);
  until([&] { return totals().bytes_down == first.size(); });
  CHECK(totals().bytes_up == first.size());
  open.echo(Bytes(100'000, 1));
  until([&] { return totals().bytes_down == first.size() + 100'000; });
  CHECK(totals().bytes_up == first.size() + 100'000);
  CHECK(count_of(totals().hello_ms) == 1);
  CHECK(count_of(totals().dial_ms) == 1);
  CHECK(count_of(totals().session_ms) == 0);

  open.finish();
  const Client refused = plane.connect(kAlice);
  refused.send(hello("dead.test"));
  CHECK(refused.was_reset());
  const Client unknown = plane.connect(kAlice);
  unknown.send(hello("unknown.test"));
  CHECK(unknown.was_reset());
  until([&] { return totals().active == 0; });
  const ListenerTotals ended = totals();
  CHECK(count_of(ended.hello_ms) == 2);
  CHECK(count_of(ended.dial_ms) == 1);
  CHECK(count_of(ended.session_ms) == 1);
  CHECK(ended.session_bytes_up.sum == first.size() + 100'000);
  CHECK(ended.session_bytes_down.sum == first.size() + 100'000);
  CHECK(ended.bytes_up == first.size() + 100'000);
  CHECK(ended.ended[static_cast<std::size_t>(Reason::kDialRefused)] == 1);
  CHECK(ended.ended[static_cast<std::size_t>(Reason::kNoRoute)] == 1);
}

TEST_CASE("a session keeps the usage of a route that goes, and no longer than itself") {
  EchoBackend echo;
  Plane plane({{"a.test", echo.address()}, {"b.test", echo.address()}});
  const std::weak_ptr<policy::RouteUsage> gone = plane.route("a.test").usage;
  const std::shared_ptr<policy::RouteUsage> stays = plane.route("b.test").usage;
  const Client a = plane.connect(kAlice);
  const Client b = plane.connect(kAlice);
  a.echo(hello("a.test"));
  b.echo(hello("b.test"));
  plane.publish(plane.table().without("a.test"), blocking({}));
  REQUIRE_FALSE(gone.expired());
  CHECK(gone.lock()->active == 1);
  a.finish();
  until([&] { return gone.expired(); });

  const Client later = plane.connect(kAlice);
  later.echo(hello("b.test"));
  CHECK(stays->connections == 2);
  b.finish();
  later.finish();
  until([&] { return stays->active == 0; });
}

TEST_CASE("totals tell the listeners apart and add up") {
  Plane plane({}, 2, 3);
  std::vector<Client> open;
  for (int i = 0; i < 5; ++i) open.push_back(plane.connect(kAlice, 0));
  for (int i = 0; i < 3; ++i) open.push_back(plane.connect(kAlice, 2));
  const Client lost = plane.connect(kAlice, 2);
  lost.send(hello("nowhere.test"));
  CHECK(lost.was_reset());
  until([&] { return plane->totals().active == 8 && plane->totals().accepted == 9; });
  const Totals totals = plane->totals();
  REQUIRE(totals.listeners.size() == 3);
  CHECK(totals.listeners[0].active == 5);
  CHECK(totals.listeners[0].accepted == 5);
  CHECK(totals.listeners[1].active == 0);
  CHECK(totals.listeners[1].accepted == 0);
  CHECK(totals.listeners[2].active == 3);
  CHECK(totals.listeners[2].accepted == 4);
}

// ---- accepting

TEST_CASE("a data plane accepts from its start until it is told to drain") {
  Plane plane({});
  const Client client = plane.connect(kAlice);
  until([&] { return plane->totals().active == 1; });
  CHECK(plane->accepting());
  plane->drain(std::chrono::minutes(5));
  CHECK_FALSE(plane->accepting());
  CHECK(plane->totals().active == 1);
}

TEST_CASE("a data plane does not accept while it lacks descriptors") {
  const FewDescriptors limit(200);
  Plane plane({});
  std::vector<Fd> taken;
  const auto take = [] { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); };
  for (Fd fd = take(); fd; fd = take()) taken.push_back(std::move(fd));
  taken.pop_back();  // for the client; its session finds none
  CHECK(plane->accepting());
  const Client client = plane.connect(kAlice);
  until([&] { return !plane->accepting(); });
  CHECK(plane->totals().accepted == 0);
  taken.clear();
  until([&] { return plane->accepting(); });
  until([&] { return plane->totals().active == 1; });
}

}  // namespace mc::proxy
