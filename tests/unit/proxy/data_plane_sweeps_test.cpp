// SPDX-License-Identifier: Apache-2.0
// Orders to a data plane about its open connections: cut, list, count, close.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "proxy/data_plane.hpp"
#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "unit/proxy/plane_fixture.hpp"

namespace mc::proxy {
namespace {

using namespace testing;

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
  const policy::ConnectionCounts& dialed = *plane.route("silent.test").counts;
  until([&] { return plane->totals().active == 8 * kOfEach && dialed.active == 2 * kOfEach; });

  plane->cut(blocking({kAlice}));
  for (const Client& client : blocked) CHECK(client.was_reset());
  until(
      [&] { return plane.ended(Reason::kFirewallCut) == 4 * kOfEach && echo.resets() == kOfEach; });
  until([&] { return plane->totals().active == 4 * kOfEach; });
  CHECK(dialed.active == kOfEach);
  CHECK(dialed.dial_failures == 0);
  CHECK(plane.route("echo.test").counts->active == kOfEach);
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
  for (std::uint32_t i = 0; i < 5 * kSweepsMax; ++i) {
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
    // A client that is refused at once may notice while it connects.
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
  const policy::ConnectionCounts& dialed = *plane.route("silent.test").counts;
  until([&] { return plane->totals().active == 3 && dialed.active == 1; });

  std::map<IpAddress, traffic::Connection> shown;
  std::set<traffic::ConnectionId> ids;
  for (const traffic::Connection& connection : plane.list({})) {
    shown[connection.client.ip()] = connection;
    ids.insert(connection.id);
  }
  REQUIRE(shown.size() == 3);
  CHECK(ids.size() == 3);
  CHECK(shown[kAlice].stage == traffic::Stage::kHello);
  CHECK(shown[kAlice].sni.empty());
  CHECK(shown[kAlice].route.empty());
  CHECK_FALSE(shown[kAlice].backend.has_value());
  CHECK(shown[kBob].stage == traffic::Stage::kDial);
  CHECK(shown[kBob].sni == "silent.test");
  CHECK(shown[kBob].backend == silent.address());
  CHECK(shown[kBob].bytes_up == 0);
  CHECK(shown[kCarol].stage == traffic::Stage::kRelay);
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
  CHECK(plane.list({.sni = policy::pattern_of("a.test")}).size() == 2);
  CHECK(plane.list({.sni = policy::pattern_of("*.test")}).size() == 4);
  CHECK(plane.list({.sni = policy::pattern_of("*.c.test")}).size() == 1);
  CHECK(plane.list({.source = block("127.0.0.2/32")}).size() == 2);
  CHECK(plane.list({.source = block("127.0.0.2/31")}).size() == 4);
  CHECK(plane.list({.source = block("::/0")}).empty());
  CHECK(plane.list({.backend = other.address()}).size() == 1);
  CHECK(
      plane
          .list(
              {.listener = 1, .sni = policy::pattern_of("a.test"), .source = block("127.0.0.4/32")})
          .size() == 1);
  CHECK(
      plane
          .list(
              {.listener = 0, .sni = policy::pattern_of("a.test"), .source = block("127.0.0.4/32")})
          .empty());
  const auto one = plane.list({.backend = other.address()});
  REQUIRE(one.size() == 1);
  CHECK(plane.list({.id = one.front().id}).front().sni == "b.test");
  CHECK(plane->count({.sni = policy::pattern_of("a.test")}, always) == 2);
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
  CHECK(plane->close({.sni = policy::pattern_of("a.test")}, always) == kOfEach);
  CHECK(plane->close({.sni = policy::pattern_of("a.test")}, always) == 0);
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

// Takes nothing of a listing until it is released.
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

  std::set<traffic::ConnectionId> ids;
  std::size_t rows = 0;
  std::size_t largest = 0;  // number of rows at a time

 private:
  void read(Plane& plane) {
    plane->list({}, [this](std::span<const traffic::Connection> some) {
      has_rows_ = has_rows_ || !some.empty();
      reads_.wait(false);
      largest = std::max(largest, some.size());
      rows += some.size();
      for (const traffic::Connection& connection : some) ids.insert(connection.id);
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
  // More than a reader takes at once, and the rows that wait then.
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
    // Each once; of those that left meanwhile, some may have been seen before.
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
  for (std::size_t i = 0; i < 3 * kSweepsMax; ++i) {
    readers.emplace_back([&plane] {
      plane->list({}, [](std::span<const traffic::Connection> rows) { return rows.empty(); });
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

}  // namespace mc::proxy
