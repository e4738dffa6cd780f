// SPDX-License-Identifier: Apache-2.0
#include "proxy/session.hpp"

#include <sys/socket.h>

#include <iterator>
#include <memory>
#include <string>

#include "proxy/sweep.hpp"
#include "support/catch.hpp"
#include "unit/proxy/visitor.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::proxy {
namespace {

// A client whose whole hello has come; its session awaits the peek.
Fd serve_client_with_hello(testing::Stage& stage) {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  Fd client(ends[0]);
  const tls::testing::Bytes hello = tls::testing::typical_hello().stream();
  REQUIRE(::send(client.get(), hello.data(), hello.size(), 0) == std::ssize(hello));
  serve(stage.context, 0, Fd(ends[1]), SocketAddress());
  return client;
}

void pass_deadline(testing::Stage& stage) {
  stage.loop->timers().advance(stage.loop->now() + stage.listener.hello_timeout);
}

}  // namespace

TEST_CASE("an order ends a session although its deadline came first and was met after all") {
  testing::Stage stage;
  const Reason order = GENERATE(Reason::kFirewallCut, Reason::kShutdown);
  const Fd client = serve_client_with_hello(stage);
  REQUIRE(stage.sessions.size() == 1);
  // All in one turn: the deadline passes, the order comes, and the peek has its result already.
  pass_deadline(stage);
  (*stage.sessions.begin())->interrupt(order);
  test::turn_until(*stage.loop, [&] { return stage.sessions.empty(); });
  CHECK(stage.counters.per_listener[0].of(order).value() == 1);
}

TEST_CASE("a deadline that comes after an order does not take its place") {
  testing::Stage stage;
  const Fd client = serve_client_with_hello(stage);
  (*stage.sessions.begin())->interrupt(Reason::kFirewallCut);
  pass_deadline(stage);
  test::turn_until(*stage.loop, [&] { return stage.sessions.empty(); });
  CHECK(stage.counters.per_listener[0].of(Reason::kFirewallCut).value() == 1);
}

TEST_CASE("of two orders the first counts") {
  testing::Stage stage;
  const Fd client = serve_client_with_hello(stage);
  (*stage.sessions.begin())->interrupt(Reason::kShutdown);
  (*stage.sessions.begin())->interrupt(Reason::kFirewallCut);
  test::turn_until(*stage.loop, [&] { return stage.sessions.empty(); });
  CHECK(stage.counters.per_listener[0].of(Reason::kShutdown).value() == 1);
}

TEST_CASE("a session that was told to end is neither found nor closed any more") {
  testing::Stage stage;
  const Fd client = serve_client_with_hello(stage);
  LiveConnection& session = **stage.sessions.begin();
  const auto results = std::make_shared<SweepResults>(traffic::ConnectionFilter{});
  FilterSweep order(results, SweepAction::kClose);
  pass_deadline(stage);  // its operation may still complete in time
  CHECK(order.visit(session, stage.loop->now()) == Sweep::Visit::kActed);
  CHECK(order.visit(session, stage.loop->now()) == Sweep::Visit::kPassed);
  order.slice_done();
  CHECK(results->count() == 1);
  test::turn_until(*stage.loop, [&] { return stage.sessions.empty(); });
  CHECK(stage.counters.per_listener[0].of(Reason::kClosedByOperator).value() == 1);
}

// ---- the ways of a listener

namespace {

const std::string kPlain = "SSH-2.0-client\r\n";

// Clients without a name, and of another protocol, may have a pool, whose backend is the stage's.
struct Ways : testing::Stage {
  Ways() {
    policy::LivePools pools;
    pools.emplace("app", std::make_shared<const policy::LivePool>(
                             testing::pool_of({test::address_of(backend)}), policy::ResolvedNames(),
                             nullptr, Instant()));
    publish(policy_of({policy::live_route("app.example.com", test::address_of(backend))}, pools));
  }
};

std::string named() { return testing::text_of(tls::testing::typical_hello().stream()); }
std::string nameless() { return testing::text_of(tls::testing::HelloBuilder().stream()); }

}  // namespace

TEST_CASE("a hello without a name, and what is no TLS, go to the pool for them, untouched") {
  Ways stage;
  std::string bytes, route;
  SECTION("no name") {
    stage.listener.no_sni = "app";
    bytes = nameless();
    route = "no_sni";
  }
  SECTION("no TLS") {
    stage.listener.not_tls = "app";
    bytes = kPlain;
    route = "not_tls";
  }
  testing::Visitor client(stage);
  client.dribble(bytes);
  Fd backend = testing::accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, bytes.size()) == bytes);
  CHECK(client.facts().route() == route);
  CHECK(client.facts().pool() == "app");
  CHECK(stage.pool().backends()[0].state->counts.active == 1);
  client.fd.reset();
  CHECK(testing::end_of(stage, backend) == 0);
  backend.reset();
  CHECK(client.ended() == Reason::kCompleted);
  CHECK(stage.logged().contains(" pool=app "));
  CHECK(stage.logged().contains(" route=" + route + " "));
  CHECK(stage.pool().backends()[0].state->counts.active == 0);
}

TEST_CASE("each way is its own: without its pool such a client is refused") {
  Ways stage;
  std::string bytes;
  Reason expected{};
  SECTION("no name") {
    stage.listener.not_tls = "app";
    bytes = nameless();
    expected = Reason::kNoSni;
  }
  SECTION("no TLS") {
    stage.listener.no_sni = "app";
    bytes = kPlain;
    expected = Reason::kNotTls;
  }
  SECTION("a name without a route") {
    stage.listener.no_sni = stage.listener.not_tls = "app";
    bytes = testing::text_of(tls::testing::typical_hello("other.example.com").stream());
    expected = Reason::kNoRoute;
  }
  SECTION("a hello of SSL 2") {
    stage.listener.no_sni = stage.listener.not_tls = "app";
    bytes = std::string("\x80\x2e\x01\x03\x01", 5) + std::string(43, 'x');
    expected = Reason::kSslV2;
  }
  SECTION("a handshake that is no hello") {
    stage.listener.no_sni = stage.listener.not_tls = "app";
    bytes = named();
    bytes[5] = '\x63';
    expected = Reason::kMalformedHandshake;
  }
  SECTION("no handshake in the record") {
    stage.listener.no_sni = stage.listener.not_tls = "app";
    bytes = named();
    bytes[1] = '\x09';  // the version
    expected = Reason::kMalformedRecord;
  }
  testing::Visitor client(stage);
  client.send(bytes);
  CHECK(client.end() == ECONNRESET);
  CHECK(client.ended() == expected);
}

TEST_CASE("a way whose pool is not there is a dial that failed") {
  Ways stage;
  stage.listener.not_tls = "gone";
  testing::Visitor client(stage);
  client.send(kPlain);
  CHECK(client.ended() == Reason::kNoBackend);
  CHECK(stage.logged().contains("pool=gone"));
}

}  // namespace mc::proxy
