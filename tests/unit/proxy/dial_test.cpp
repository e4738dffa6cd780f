// SPDX-License-Identifier: Apache-2.0
#include "proxy/dial.hpp"

#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "policy/limits.hpp"
#include "policy/live_pool.hpp"
#include "support/catch.hpp"
#include "unit/proxy/stage.hpp"

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

policy::Pool pool_of(std::vector<SocketAddress> addresses, policy::PoolSettings settings = {}) {
  policy::Pool pool{.name = "app", .settings = settings, .backends = {}};
  for (const SocketAddress& address : addresses) pool.backends.push_back({.address = address});
  return pool;
}

// A session on its way to the backends of one pool, in their order.
class Dialling {
 public:
  explicit Dialling(policy::Pool pool) {
    pool.settings.balance = policy::Balance::kRoundRobin;
    live_ = std::make_shared<const policy::LivePool>(std::move(pool), nullptr, Instant());
    auto& reader = stage.policies.reader(0);
    reader.offline();
    auto pools = std::make_shared<policy::LivePools>();
    pools->emplace("app", live_);
    stage.policies.publish(std::make_unique<const policy::Policy>(
        2, std::make_shared<const policy::Firewall>(), std::vector<policy::RouteTable>(1),
        std::move(pools)));
    reader.online();
  }

  // From the start of a dial to its end.
  Reason dial() {
    start();
    test::turn_until(*stage.loop, [&] { return result.has_value(); });
    return reason();
  }
  void start() {
    facts = std::make_unique<traffic::ConnectionFacts>();
    facts->name = "app.example.com";
    facts->take_route(
        {.spec = {.pattern = policy::pattern_of("*"), .target = policy::PoolName{"app"}}});
    stage.reporter.routed(*facts, stage.loop->now());
    result.reset();
    run(*this);
  }
  [[nodiscard]] Reason reason() const {
    return result->has_value() ? Reason::kNone : result->error();
  }
  [[nodiscard]] const policy::BackendState& backend(std::size_t place) const {
    return *live_->backends()[place].state;
  }
  void pass(Clock::duration time) { stage.loop->timers().advance(stage.loop->now() + time); }

  testing::Stage stage;
  std::unique_ptr<traffic::ConnectionFacts> facts;
  Interruption interruption;
  std::optional<std::expected<Fd, Reason>> result;

 private:
  static ring::Detached run(Dialling& self) {
    self.result.emplace(co_await proxy::dial(
        {.context = self.stage.context, .facts = *self.facts, .interruption = self.interruption}));
  }

  std::shared_ptr<const policy::LivePool> live_;
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

}  // namespace
}  // namespace mc::proxy
