// SPDX-License-Identifier: Apache-2.0
#include "proxy/relay.hpp"

#include <sys/socket.h>

#include <string>

#include "support/catch.hpp"
#include "unit/proxy/stage.hpp"

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

}  // namespace mc::proxy
