// SPDX-License-Identifier: Apache-2.0
// What a data plane reports of its connections, and when it accepts; data_plane_sweeps_test tests
// sweeps.
#include "proxy/data_plane.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "unit/proxy/plane_fixture.hpp"

namespace mc::proxy {
namespace {

using namespace testing;

// Stops whoever comes to rest() until it is released.
class Barrier {
 public:
  void rest() {
    held_ = true;
    released_.wait(false);
  }
  [[nodiscard]] bool holds() const { return held_; }
  void release() {
    released_ = true;
    released_.notify_all();
  }

 private:
  std::atomic<bool> held_{false};
  std::atomic<bool> released_{false};
};
using Barriers = std::deque<Barrier>;

struct ReleaseAll {
  explicit ReleaseAll(Barriers& all) : barriers(all) {}
  ~ReleaseAll() {
    for (Barrier& barrier : barriers) barrier.release();
  }
  ReleaseAll(const ReleaseAll&) = delete;
  ReleaseAll& operator=(const ReleaseAll&) = delete;

  Barriers& barriers;
};

// The state of a backend; the thread that releases the last reference rests.
std::shared_ptr<policy::ConnectionCounts> state_that_rests(Barrier& barrier) {
  const auto end = [&barrier](const policy::ConnectionCounts* state) {
    barrier.rest();
    delete state;
  };
  return {new policy::ConnectionCounts, end};
}

// A client whose end blocks its worker. The kernel chooses which worker serves it.
struct Holder {
  Client client;
  Barrier& barrier;
};

// Workers by index, each with at least two holders.
class HeldWorkers {
 public:
  /// The barriers outlive the plane, whose workers may be at one until then.
  HeldWorkers(Plane& plane, const SocketAddress& backend, std::size_t workers, Barriers& barriers)
      : at_end_(barriers), holders_(workers) {
    while (std::ranges::any_of(holders_, [](const auto& some) { return some.size() < 2; })) {
      Barrier& barrier = barriers.emplace_back();
      const auto number = static_cast<std::uint32_t>(barriers.size());
      const IpAddress from = IpAddress::v4(0x7f000100 + number);
      const std::string name = std::to_string(number) + ".test";
      auto route = policy::live_route(name, backend);
      route.counts = state_that_rests(barrier);
      plane.publish(plane.table().with(std::move(route)), blocking({}));
      Client client = plane.connect(from);
      client.echo(hello(name));
      const auto listed = plane.list({.source = *IpPrefix::parse(from.to_string() + "/32")});
      REQUIRE(listed.size() == 1);
      holders_.at(listed.front().id.worker).push_back({std::move(client), barrier});
    }
    plane.publish({}, blocking({}));  // now only the sessions know the routes
  }
  [[nodiscard]] const std::vector<Holder>& of(std::size_t worker) const { return holders_[worker]; }

 private:
  ReleaseAll at_end_;  // also when a test fails half-way
  std::vector<std::vector<Holder>> holders_;
};

}  // namespace

// ---- events

TEST_CASE("each end of a connection is one event, told apart as in the log") {
  EchoBackend echo;
  const SocketAddress nobody = address_of(listening_socket(0));
  Plane plane({{"*.test", echo.address()}, {"dead.test", nobody}});
  traffic::EventHub::Subscription watch(
      plane->events(), {traffic::EventKind::kOpened, traffic::EventKind::kClosed,
                        traffic::EventKind::kRefused, traffic::EventKind::kDialFailed});
  traffic::Events seen;
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
  CHECK(opened->kind == traffic::EventKind::kOpened);
  CHECK(opened->connection.sni == "a.test");
  CHECK(opened->connection.backend == echo.address());
  client.echo(Bytes(100, 3));
  client.finish();
  const auto closed = next();
  CHECK(closed->kind == traffic::EventKind::kClosed);
  CHECK(closed->reason == Reason::kCompleted);
  CHECK(closed->connection.id == opened->connection.id);
  CHECK(closed->connection.client.ip() == kAlice);
  CHECK(closed->connection.route == "*.test");
  CHECK(closed->connection.bytes_up == hello("a.test").size() + 100);

  const Client dead = plane.connect(kBob);
  dead.send(hello("dead.test"));
  CHECK(dead.was_reset());
  const auto failed = next();
  CHECK(failed->kind == traffic::EventKind::kDialFailed);
  CHECK(failed->reason == Reason::kDialRefused);
  CHECK(failed->dial_error == ECONNREFUSED);
  CHECK(failed->connection.backend == nobody);

  const Client stray = plane.connect(kBob);
  stray.send(hello("nowhere.example"));
  CHECK(stray.was_reset());
  const auto refused = next();
  CHECK(refused->kind == traffic::EventKind::kRefused);
  CHECK(refused->reason == Reason::kNoRoute);
  CHECK(refused->connection.sni == "nowhere.example");

  plane.publish(plane.table(), blocking({kCarol}));
  const Client blocked = plane.connect(kCarol);
  CHECK(blocked.was_reset());
  const auto denied = next();
  CHECK(denied->kind == traffic::EventKind::kRefused);
  CHECK(denied->reason == Reason::kBlockedIp);
  CHECK(denied->connection.client.ip() == kCarol);
  CHECK(denied->connection.id.number == 0);
}

TEST_CASE("what ends with its worker is told too") {
  EchoBackend echo;
  Plane plane({{"*", echo.address()}});
  traffic::EventHub::Subscription watch(plane->events(), {traffic::EventKind::kClosed});
  const Client client = plane.connect(kAlice);
  client.echo(hello("a.test"));
  plane->drain(std::chrono::milliseconds(0));
  pollfd ended{.fd = plane->ended_fd(), .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&ended, 1, 1000 * static_cast<int>(kPatience.count())) == 1);
  const auto seen = watch.read(10).events;
  REQUIRE(seen.size() == 1);
  CHECK(seen.front()->reason == Reason::kShutdown);
}

// ---- counts and totals

TEST_CASE(
    "a route counts its connections, their bytes and its backend's failures, and no others'") {
  EchoBackend echo;
  const SocketAddress nobody = address_of(listening_socket(0));
  Plane plane({{"echo.test", echo.address()}, {"dead.test", nobody}, {"*.test", echo.address()}});
  const policy::ConnectionCounts& state = *plane.route("echo.test").counts;
  const policy::ConnectionCounts& dead = *plane.route("dead.test").counts;
  const Bytes first = hello("echo.test");
  const Client silent = plane.connect(kAlice);
  std::vector<Client> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(plane.connect(kAlice));
    clients.back().echo(first);
  }
  CHECK(state.connections == 6);
  CHECK(state.active == 6);
  CHECK(state.bytes_up == 0);

  clients.back().echo(Bytes(100'000, 1));
  for (const Client& client : clients) client.finish();
  until([&] { return state.active == 0; });
  CHECK(state.connections == 6);
  CHECK(state.bytes_up == 6 * first.size() + 100'000);
  CHECK(state.bytes_down == 6 * first.size() + 100'000);
  CHECK(state.dial_failures == 0);

  const Client refused = plane.connect(kAlice);
  refused.send(hello("dead.test"));
  CHECK(refused.was_reset());
  until([&] { return dead.connections == 1 && dead.active == 0; });
  CHECK(dead.dial_failures == 1);
  CHECK(dead.bytes_up == 0);
  CHECK(plane.route("*.test").counts->connections == 0);
  CHECK(state.connections == 6);
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
  const policy::ConnectionCounts& state = *plane.route("*").counts;
  until([&] { return state.active == 0; });
  CHECK(state.bytes_up == first.size());
  CHECK(state.bytes_down == 0);
  CHECK(state.connections == 1);
}

std::uint64_t count_of(const traffic::HistogramTotals& totals) {
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
  const traffic::ListenerTotals ended = totals();
  CHECK(count_of(ended.hello_ms) == 2);
  CHECK(count_of(ended.dial_ms) == 1);
  CHECK(count_of(ended.session_ms) == 1);
  CHECK(ended.session_bytes_up.sum == first.size() + 100'000);
  CHECK(ended.session_bytes_down.sum == first.size() + 100'000);
  CHECK(ended.bytes_up == first.size() + 100'000);
  CHECK(ended.ended[static_cast<std::size_t>(Reason::kDialRefused)] == 1);
  CHECK(ended.ended[static_cast<std::size_t>(Reason::kNoRoute)] == 1);
}

TEST_CASE("a session keeps the state of a route that goes, and no longer than itself") {
  EchoBackend echo;
  Plane plane({{"a.test", echo.address()}, {"b.test", echo.address()}});
  const std::weak_ptr<policy::ConnectionCounts> gone = plane.route("a.test").counts;
  const std::shared_ptr<policy::ConnectionCounts> stays = plane.route("b.test").counts;
  const Client a = plane.connect(kAlice);
  const Client b = plane.connect(kAlice);
  a.echo(hello("a.test"));
  b.echo(hello("b.test"));
  plane.publish(plane.table().without(policy::pattern_of("a.test"), {}), blocking({}));
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
  const traffic::Totals totals = plane->totals();
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
  // What a listener asks for is bounded by the limit at that moment.
  const test::DescriptorsBelow limit(200);
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

// ---- turning

TEST_CASE("a data plane turns when each worker does, and not while one is held up") {
  constexpr std::size_t kWorkers = 2;
  Barriers barriers;
  EchoBackend echo;
  Plane plane({}, kWorkers);
  const HeldWorkers workers(plane, echo.address(), kWorkers, barriers);
  for (std::size_t worker = 0; worker < kWorkers; ++worker) {
    until([&] { return plane->all_workers_progressed(); });
    until([&] { return plane->all_workers_progressed(); });  // it makes them turn itself

    const Holder& held = workers.of(worker).back();
    const Holder& other = workers.of(kWorkers - 1 - worker).front();
    held.client.finish();
    until([&] { return held.barrier.holds(); });
    static_cast<void>(plane->all_workers_progressed());  // what it has turned until now
    for (int i = 0; i < 3; ++i) {
      other.client.echo(Bytes(100, 1));  // the other one turns
      CHECK_FALSE(plane->all_workers_progressed());
    }
    held.barrier.release();
  }
  until([&] { return plane->all_workers_progressed(); });
  until([&] { return plane->all_workers_progressed(); });
}

}  // namespace mc::proxy
