// SPDX-License-Identifier: Apache-2.0
#include "proxy/dial.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/limits.hpp"
#include "policy/live_pool.hpp"
#include "support/catch.hpp"
#include "unit/proxy/visitor.hpp"

namespace mc::proxy {
namespace {

using namespace std::chrono_literals;

// A port where nobody listens: reserved, so that nobody else gets it.
struct Refusing {
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  SocketAddress address;

  Refusing() {
    const SocketAddress any = *SocketAddress::parse_listen("127.0.0.1:0");
    REQUIRE(::bind(socket.get(), any.data(), any.size()) == 0);
    address = net::bound_address(socket.get());
  }
};

// A backend that never replies: its queue of connections is full.
struct Silent {
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  SocketAddress address;
  std::vector<Fd> clients;

  Silent() {
    const SocketAddress any = *SocketAddress::parse_listen("127.0.0.1:0");
    REQUIRE(::bind(socket.get(), any.data(), any.size()) == 0);
    REQUIRE(::listen(socket.get(), 0) == 0);
    address = net::bound_address(socket.get());
    for (int i = 0; i < 2; ++i) {
      clients.push_back(net::open_backend_socket(address));
      static_cast<void>(::connect(clients.back().get(), address.data(), address.size()));
    }
  }
};

using testing::pool_of;

// A session on its way to the backends of one pool, in their order.
class Dialling {
 public:
  explicit Dialling(policy::Pool pool) { stage.publish_pool(std::move(pool)); }

  // From the start of a dial to its end.
  Reason dial() {
    start();
    test::turn_until(*stage.loop, [&] { return result.has_value(); });
    return reason();
  }
  void start() {
    facts = std::make_unique<traffic::ConnectionFacts>();
    facts->name = "app.example.com";
    facts->take_route(testing::route_to_pool("*", "app"));
    stage.reporter.routed(*facts, stage.loop->now());
    result.reset();
    run(*this);
  }
  [[nodiscard]] Reason reason() const {
    return result->has_value() ? Reason::kNone : result->error();
  }
  [[nodiscard]] const policy::BackendState& backend(std::size_t place) {
    return *stage.pool().backends()[place].state;
  }
  void pass(Clock::duration time) { stage.loop->timers().advance(stage.loop->now() + time); }

  testing::Stage stage;
  std::unique_ptr<traffic::ConnectionFacts> facts;
  Interruption interruption;
  Fd client;
  std::optional<std::expected<Fd, Reason>> result;

 private:
  static ring::Detached run(Dialling& self) {
    const SessionParts parts{.context = self.stage.context,
                             .facts = *self.facts,
                             .interruption = self.interruption,
                             .client = self.client};
    auto dialled = co_await proxy::dial(parts);
    self.result.emplace(std::move(dialled));
  }
};

TEST_CASE("a refused dial goes on to the next backend, and both are counted") {
  const Refusing dead;
  const Fd alive = testing::listening_socket();
  Dialling dialling(pool_of({dead.address, test::address_of(alive)}));
  CHECK(dialling.dial() == Reason::kNone);
  CHECK(dialling.facts->pooled->tries == 2);
  CHECK(dialling.facts->dial_error == 0);
  CHECK(dialling.facts->backend() == BackendAddress(test::address_of(alive)));
  CHECK(dialling.facts->pool() == "app");
  CHECK(dialling.backend(0).counts.dial_failures == 1);
  CHECK(dialling.backend(0).counts.active == 0);
  CHECK(dialling.backend(0).counts.connections == 1);
  CHECK(dialling.backend(1).counts.active == 1);
  CHECK(dialling.backend(1).counts.dial_failures == 0);
}

TEST_CASE("every backend is tried once, and the last failure is the reason") {
  const Refusing a, b;
  Dialling dialling(pool_of({a.address, b.address}));
  CHECK(dialling.dial() == Reason::kDialRefused);
  CHECK(dialling.facts->pooled->tries == 2);
  CHECK(dialling.facts->dial_error == ECONNREFUSED);
  CHECK(dialling.facts->backend().has_value());
}

TEST_CASE("no more backends are tried than retries allow") {
  const Refusing a, b;
  const Fd alive = testing::listening_socket();
  policy::PoolSettings settings;
  settings.retries = 1;
  Dialling dialling(pool_of({a.address, b.address, test::address_of(alive)}, settings));
  CHECK(dialling.dial() == Reason::kDialRefused);
  CHECK(dialling.facts->pooled->tries == 2);
}

TEST_CASE("a silent backend leaves its part of the budget to the others") {
  const Silent silent;
  const Fd alive = testing::listening_socket();
  policy::PoolSettings settings;
  settings.retries = 1;
  settings.dial_budget = 4s;
  Dialling dialling(pool_of({silent.address, test::address_of(alive)}, settings));
  dialling.start();
  dialling.pass(1990ms);
  CHECK_FALSE(dialling.result.has_value());
  CHECK(dialling.facts->pooled->tries == 1);
  dialling.pass(2100ms);
  test::turn_until(*dialling.stage.loop, [&] { return dialling.result.has_value(); });
  CHECK(dialling.reason() == Reason::kNone);
  CHECK(dialling.facts->pooled->tries == 2);
  CHECK(dialling.backend(0).counts.dial_failures == 1);
}

TEST_CASE("backends that are not ready take no part of the budget") {
  const Silent silent;
  policy::PoolSettings settings;
  settings.dial_budget = 4s;
  policy::Pool pool = pool_of({silent.address, SocketAddress(), SocketAddress()}, settings);
  pool.backends[1].state = policy::AdminState::kDrain;
  pool.backends[2].state = policy::AdminState::kMaintenance;
  Dialling dialling(pool);
  dialling.start();
  dialling.pass(3900ms);
  CHECK(dialling.interruption.reason() == Reason::kNone);
  dialling.pass(4100ms);
  CHECK(dialling.interruption.reason() == Reason::kDialTimeout);
  test::turn_until(*dialling.stage.loop, [&] { return dialling.result.has_value(); });
  CHECK(dialling.reason() == Reason::kDialTimeout);
}

TEST_CASE("an order to end ends a dial, and no further backend is tried") {
  const Silent silent;
  const Fd alive = testing::listening_socket();
  Dialling dialling(pool_of({silent.address, test::address_of(alive)}));
  dialling.start();
  dialling.interruption.interrupt(Reason::kShutdown);
  test::turn_until(*dialling.stage.loop, [&] { return dialling.result.has_value(); });
  CHECK(dialling.reason() == Reason::kShutdown);
  CHECK(dialling.facts->pooled->tries == 1);
  CHECK(dialling.backend(0).counts.dial_failures == 0);
}

TEST_CASE("a pool without an eligible backend, or that was removed, is a reason of its own") {
  policy::Pool drained = pool_of({SocketAddress()});
  drained.backends[0].state = policy::AdminState::kDrain;
  Dialling dialling(drained);
  CHECK(dialling.dial() == Reason::kNoBackend);
  CHECK(dialling.facts->pooled->tries == 0);
  CHECK(dialling.facts->pool() == "app");
  CHECK_FALSE(dialling.facts->backend().has_value());
}

TEST_CASE("a backend gets no more connections than its limit, counted when they are chosen") {
  const Fd alive = testing::listening_socket();
  policy::Pool pool = pool_of({test::address_of(alive)});
  pool.backends[0].max_connections = 1;
  Dialling dialling(pool);
  CHECK(dialling.dial() == Reason::kNone);
  CHECK(dialling.dial() == Reason::kBackendFull);
  CHECK(dialling.backend(0).counts.active == 1);
}

TEST_CASE("a backend whose dials fail in a row is ejected, and a success forgives") {
  auto dead = std::make_unique<Refusing>();
  const Fd alive = testing::listening_socket();
  Dialling dialling(pool_of({dead->address, test::address_of(alive)}));
  for (std::uint32_t i = 0; i < 2 * policy::kFailuresToEject; ++i) {
    CHECK(dialling.dial() == Reason::kNone);
  }
  CHECK(dialling.backend(0).is_ejected(dialling.stage.loop->now()));
  CHECK(dialling.backend(0).counts.dial_failures == policy::kFailuresToEject);
  CHECK(dialling.dial() == Reason::kNone);
  CHECK(dialling.facts->pooled->tries == 1);
}

// ---- Unix sockets

using testing::UnixBackend;

TEST_CASE("a backend may be a Unix socket") {
  const UnixBackend unix_backend;
  Dialling dialling(pool_of({unix_backend.address}));
  CHECK(dialling.dial() == Reason::kNone);
  CHECK(dialling.facts->backend() == unix_backend.address);
  CHECK(Fd(::accept(unix_backend.socket.get(), nullptr, nullptr)));
}

TEST_CASE("a Unix socket that is not there fails like a refusal, and is ejected in the end") {
  const Fd alive = testing::listening_socket();
  Dialling dialling(
      pool_of({*BackendAddress::parse("unix:/nowhere/app.sock"), test::address_of(alive)}));
  for (std::uint32_t i = 0; i < 2 * policy::kFailuresToEject; ++i) {
    CHECK(dialling.dial() == Reason::kNone);
  }
  CHECK(dialling.backend(0).is_ejected(dialling.stage.loop->now()));
  CHECK(dialling.stage.logged().contains("error=\"No such file or directory\""));
}

TEST_CASE("a Unix socket is the reason if it is the only backend and not there") {
  Dialling dialling(pool_of({*BackendAddress::parse("unix:/nowhere/app.sock")}));
  CHECK(dialling.dial() == Reason::kDialFailed);
  CHECK(dialling.facts->dial_error == ENOENT);
}

TEST_CASE("a Unix socket whose queue is full is waited for until the deadline") {
  const UnixBackend full(0);
  const ConnectAddress to = full.connect_address();
  const Fd filler(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(filler.get(), to.data(), to.size()) == 0);
  Dialling dialling(pool_of({full.address}));
  dialling.start();
  for (int i = 0; i < 5; ++i) testing::turn(dialling.stage);
  CHECK_FALSE(dialling.result.has_value());
  dialling.pass(20s);
  test::turn_until(*dialling.stage.loop, [&] { return dialling.result.has_value(); });
  CHECK(dialling.reason() == Reason::kDialTimeout);
}

// ---- sources

IpAddress source_of(testing::Stage& stage, const Fd& listener) {
  testing::await(stage, listener);
  SocketAddress peer;
  socklen_t size = SocketAddress::kCapacity;
  const Fd accepted(::accept(listener.get(), peer.data(), &size));
  REQUIRE(accepted);
  return peer.ip();
}

TEST_CASE("the addresses to dial from take turns, and one that is not there is skipped") {
  const IpAddress five = IpAddress::v4(0x7f000005), six = IpAddress::v4(0x7f000006);
  const IpAddress nowhere = IpAddress::v4(0xc0000201);
  const IpAddress v6 = IpAddress::parse("2001:db8::1").value();
  const Fd alive = testing::listening_socket();
  Dialling dialling(pool_of({test::address_of(alive)}));
  dialling.stage.settings.sources = {five, v6, six, nowhere};
  std::vector<IpAddress> seen;
  for (int i = 0; i < 6; ++i) {
    CHECK(dialling.dial() == Reason::kNone);
    seen.push_back(source_of(dialling.stage, alive));
  }
  CHECK(std::ranges::count(seen, five) >= 2);
  CHECK(std::ranges::count(seen, six) >= 2);
  CHECK(std::ranges::count(seen, five) + std::ranges::count(seen, six) == 6);
}

TEST_CASE("a dial from addresses of which none is there fails, and not by the backend's fault") {
  const Fd alive = testing::listening_socket();
  Dialling dialling(pool_of({test::address_of(alive)}));
  dialling.stage.settings.sources = {IpAddress::v4(0xc0000201)};
  for (std::uint32_t i = 0; i <= policy::kFailuresToEject; ++i) {
    CHECK(dialling.dial() == Reason::kDialFailed);
  }
  CHECK(dialling.facts->dial_error == EADDRNOTAVAIL);
  CHECK_FALSE(dialling.backend(0).is_ejected(dialling.stage.loop->now()));
}

TEST_CASE("a backend of a family that no source has is dialled from where the kernel chooses") {
  auto listeners = net::open_listeners({*SocketAddress::parse_listen("[::1]:0"), "v6"}, 1);
  if (!listeners.has_value()) MC_SKIP("no IPv6");
  Dialling dialling(pool_of({test::address_of(listeners->front())}));
  dialling.stage.settings.sources = {IpAddress::v4(0x7f000005)};
  CHECK(dialling.dial() == Reason::kNone);
  CHECK(source_of(dialling.stage, listeners->front()) == test::address_of(listeners->front()).ip());
}

TEST_CASE(
    "a listener of this proxy is recognised as a backend from whatever address it is dialled") {
  const Fd own = testing::listening_socket();
  Dialling dialling(pool_of({test::address_of(own)}));
  dialling.stage.settings.listener_addresses = {
      *SocketAddress::parse_listen(":" + std::to_string(test::address_of(own).port()))};
  if (GENERATE(false, true)) dialling.stage.settings.sources = {IpAddress::v4(0x7f000005)};
  CHECK(dialling.dial() == Reason::kDialRefused);
  CHECK(dialling.facts->dial_error == traffic::kDialledListener);
}

// ---- names

TEST_CASE("a pool of which no name has an address yet is a reason of its own") {
  Dialling dialling(pool_of({}));
  CHECK(dialling.dial() == Reason::kBackendUnresolved);
  CHECK(dialling.facts->dial_error == traffic::kUnresolved);
  CHECK(dialling.facts->pooled->tries == 0);
}

}  // namespace
}  // namespace mc::proxy
