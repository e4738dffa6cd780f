// SPDX-License-Identifier: Apache-2.0
#include "proxy/session.hpp"

#include <sys/socket.h>

#include <iterator>
#include <memory>

#include "proxy/sweep.hpp"
#include "support/catch.hpp"
#include "unit/proxy/stage.hpp"
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
  stage.loop->timers().advance(stage.loop->now() + stage.settings.hello_timeout);
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

}  // namespace mc::proxy
