// SPDX-License-Identifier: Apache-2.0
#include "proxy/relay.hpp"

#include <sys/socket.h>

#include <csignal>
#include <memory>
#include <string>

#include "support/catch.hpp"
#include "unit/proxy/visitor.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::proxy {
namespace {

// Two connections; a direction moves bytes from the first to the second.
struct Lane {
  explicit Lane(SpliceMode mode) : stage(mode) {
    connect(source, source_end);
    connect(sink_end, sink);
    from = std::make_unique<RelaySide>(*stage.loop, event, source_end.get());
    to = std::make_unique<RelaySide>(*stage.loop, event, sink_end.get());
  }

  static void connect(Fd& one, Fd& other) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    one = Fd(ends[0]);
    other = Fd(ends[1]);
  }

  void send(std::size_t bytes) {
    const std::string text(bytes, 'x');
    REQUIRE(::send(source.get(), text.data(), text.size(), 0) == std::ssize(text));
    from->input = RelaySide::Input::kReadable;
  }

  RelayDirection::Turn turn() {
    return direction.turn({.context = stage.context, .event = event, .from = *from, .to = *to});
  }

  /// Until the ring has completed the splice under way, whose result nobody takes.
  void await_splice() {
    REQUIRE(direction.busy());
    test::turn_until(*stage.loop, [this] { return !direction.busy(); });
  }

  std::size_t arrived() {
    char buffer[4096];
    const ssize_t got = ::recv(sink.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }

  testing::Stage stage;
  ring::Event event{*stage.loop};
  Fd source, source_end, sink_end, sink;
  std::unique_ptr<RelaySide> from, to;
  RelayDirection direction;
};

}  // namespace

TEST_CASE("what the last splice of a cut session has delivered is counted") {
  Lane lane(SpliceMode::kRing);
  lane.send(1000);
  CHECK(lane.turn() == RelayDirection::Turn::kBlocked);
  lane.await_splice();  // into the pipe
  CHECK(lane.turn() == RelayDirection::Turn::kBlocked);
  lane.await_splice();  // out of it; here the session is cut
  CHECK(lane.direction.bytes() == 0);
  lane.direction.settle();
  CHECK(lane.direction.bytes() == 1000);
  CHECK(lane.arrived() == 1000);
}

TEST_CASE("what is left in the pipe of a cut session is not counted") {
  Lane lane(SpliceMode::kRing);
  lane.send(1000);
  CHECK(lane.turn() == RelayDirection::Turn::kBlocked);
  lane.await_splice();
  lane.direction.settle();
  CHECK(lane.direction.bytes() == 0);
  CHECK(lane.arrived() == 0);
}

TEST_CASE("what was counted in a turn is not counted again at the end") {
  const SpliceMode mode = GENERATE(SpliceMode::kInline, SpliceMode::kRing);
  Lane lane(mode);
  lane.send(1000);
  test::turn_until(*lane.stage.loop, [&] {
    lane.turn();
    if (lane.direction.busy()) lane.event.loop().wake();
    return lane.direction.bytes() > 0;
  });
  CHECK(lane.direction.bytes() == 1000);
  lane.direction.settle();
  CHECK(lane.direction.bytes() == 1000);
  CHECK(lane.arrived() == 1000);
}

TEST_CASE("an end of stream is passed on behind the bytes before it") {
  Lane lane(SpliceMode::kInline);
  lane.send(1000);
  REQUIRE(::shutdown(lane.source.get(), SHUT_WR) == 0);
  lane.from->stream = RelaySide::Stream::kHungUp;
  CHECK(lane.turn() == RelayDirection::Turn::kBlocked);
  CHECK(lane.direction.finished());
  CHECK(lane.direction.bytes() == 1000);
  CHECK(lane.arrived() == 1000);
  char byte = 0;
  CHECK(::recv(lane.sink.get(), &byte, 1, MSG_DONTWAIT) == 0);
}

TEST_CASE("a connection that was reset passes on no end of stream") {
  Lane lane(SpliceMode::kInline);
  lane.send(1000);
  REQUIRE(::shutdown(lane.source.get(), SHUT_WR) == 0);
  lane.from->stream = RelaySide::Stream::kHungUp;
  lane.from->fail();
  lane.turn();
  CHECK_FALSE(lane.direction.finished());
  static_cast<void>(lane.arrived());
  char byte = 0;
  CHECK(::recv(lane.sink.get(), &byte, 1, MSG_DONTWAIT) == -1);
}

// ---- a Unix socket as the backend

namespace {

std::string hello() { return testing::text_of(tls::testing::typical_hello().stream()); }

// A client whose hello has arrived at its backend.
struct OverUnix {
  explicit OverUnix(SpliceMode mode) : stage(mode) {
    std::signal(SIGPIPE, SIG_IGN);  // as the server does: splice(2) has no MSG_NOSIGNAL
    stage.publish(testing::Stage::route_everything_to(listener.address));
    client = std::make_unique<testing::Visitor>(stage);
    client->send(hello());
    backend = testing::accept(stage, listener.socket);
    REQUIRE(testing::receive(stage, backend, hello().size()) == hello());
  }

  testing::Stage stage;
  testing::UnixBackend listener;
  std::unique_ptr<testing::Visitor> client;
  Fd backend;
};

}  // namespace

TEST_CASE("a relay to a Unix socket moves bytes both ways, and each end of stream by itself") {
  OverUnix relay(GENERATE(SpliceMode::kInline, SpliceMode::kRing));
  CHECK(relay.client->facts().backend() == relay.listener.address);
  std::string bulk(100'000, 'x');
  for (std::size_t i = 0; i < bulk.size(); ++i) bulk[i] = static_cast<char>(i * 7 % 251);
  testing::send(relay.backend, bulk);
  CHECK(relay.client->receive(bulk.size()) == bulk);
  relay.client->send(bulk);
  CHECK(testing::receive(relay.stage, relay.backend, bulk.size()) == bulk);
  REQUIRE(::shutdown(relay.client->fd.get(), SHUT_WR) == 0);
  CHECK(testing::end_of(relay.stage, relay.backend) == 0);
  testing::send(relay.backend, "late");
  CHECK(relay.client->receive(4) == "late");
  relay.backend.reset();
  CHECK(relay.client->end() == 0);
  CHECK(relay.client->ended() == Reason::kCompleted);
}

TEST_CASE("a Unix backend that ends first has its last bytes delivered") {
  OverUnix relay(GENERATE(SpliceMode::kInline, SpliceMode::kRing));
  testing::send(relay.backend, "goodbye");
  SECTION("by half") { REQUIRE(::shutdown(relay.backend.get(), SHUT_WR) == 0); }
  SECTION("whole, as when its process is killed") { relay.backend.reset(); }
  CHECK(relay.client->receive(7) == "goodbye");
  CHECK(relay.client->end() == 0);
  relay.client->fd.reset();
  CHECK(relay.client->ended() == Reason::kCompleted);
}

TEST_CASE("a Unix backend that closes with bytes unread has reset the connection") {
  OverUnix relay(GENERATE(SpliceMode::kInline, SpliceMode::kRing));
  relay.client->send("unread");
  testing::await(relay.stage, relay.backend);
  relay.backend.reset();
  CHECK(relay.client->end() == ECONNRESET);
  CHECK(relay.client->ended() == Reason::kBackendReset);
}

TEST_CASE("what a client sends to a Unix backend that is gone ends the connection by reset") {
  OverUnix relay(GENERATE(SpliceMode::kInline, SpliceMode::kRing));
  relay.backend.reset();
  CHECK(relay.client->end() == 0);
  relay.client->send("anybody?");
  CHECK(relay.client->ended() == Reason::kBackendReset);
}

TEST_CASE("a client that resets ends the stream to a Unix backend") {
  OverUnix relay(GENERATE(SpliceMode::kInline, SpliceMode::kRing));
  relay.client->reset();
  CHECK(relay.client->ended() == Reason::kClientReset);
  CHECK(testing::end_of(relay.stage, relay.backend) == 0);  // a Unix socket knows no reset
}

}  // namespace mc::proxy
