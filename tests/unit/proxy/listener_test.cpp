// SPDX-License-Identifier: Apache-2.0
#include "proxy/listener.hpp"

#include <sys/socket.h>

#include <utility>

#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "unit/proxy/visitor.hpp"

namespace mc::proxy {
namespace {

using test::address_of;
using testing::Stage;

void close(Stage& stage, Listener& listener) {
  listener.close();
  test::turn_until(*stage.loop, [&] { return listener.closed() && stage.loop->in_flight() == 0; });
}

// Only while it waits: a sanitizer sometimes needs descriptors of its own.
void turn_without_descriptors(Stage& stage) {
  {
    const test::DescriptorsBelow none(0);
    stage.loop->wait();
  }
  stage.loop->dispatch();
}

// A listener that twice found no descriptor, although no client is waiting for it.
void open_without_descriptors(Stage& stage, Listener& listener) {
  const Instant opened = stage.loop->now();
  listener.open();
  while (stage.loop->now() < opened + 4 * kAcceptPause) turn_without_descriptors(stage);
  REQUIRE(stage.counters.listeners_paused.value() == 1);
}

}  // namespace

TEST_CASE("a listener that rests for want of descriptors says so once, as long as it lasts") {
  Stage stage;
  Listener listener(stage.context, 0, testing::listening_socket());
  open_without_descriptors(stage, listener);
  CHECK(stage.counters.accept_paused.value() == 1);
  close(stage, listener);
  CHECK(stage.counters.listeners_paused.value() == 0);
}

TEST_CASE("a listener that rested goes on once there are descriptors, even if no client comes") {
  Stage stage;
  Listener listener(stage.context, 0, testing::listening_socket());
  open_without_descriptors(stage, listener);
  test::turn_until(*stage.loop, [&] { return stage.counters.listeners_paused.value() == 0; });
  CHECK(stage.counters.per_listener[0].accepted.value() == 0);
  close(stage, listener);
}

TEST_CASE("a client that comes ends the rest of a listener") {
  Stage stage;
  Fd socket = testing::listening_socket();
  const SocketAddress address = address_of(socket);
  Listener listener(stage.context, 0, std::move(socket));
  Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  open_without_descriptors(stage, listener);
  REQUIRE(::connect(client.get(), address.data(), address.size()) == 0);
  test::turn_until(*stage.loop, [&] { return stage.sessions.size() == 1; });
  CHECK(stage.counters.listeners_paused.value() == 0);
  client.reset();
  close(stage, listener);
}

// ---- who is admitted

namespace {

// A listener that accepts, and clients that it may refuse.
struct Door : Stage {
  Door() { door.open(); }
  ~Door() {
    for (LiveConnection* const session : sessions) session->interrupt(Reason::kShutdown);
    close(*this, door);
    test::turn_until(*loop, [this] { return sessions.empty(); });
  }

  Fd knock(const IpAddress& from = IpAddress::v4(0x7f000001)) {
    const std::uint64_t accepted = counters.per_listener[0].accepted.value();
    Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress source(from, 0);
    REQUIRE(::bind(client.get(), source.data(), source.size()) == 0);
    REQUIRE(::connect(client.get(), address.data(), address.size()) == 0);
    test::turn_until(*loop, [&] { return counters.per_listener[0].accepted.value() > accepted; });
    return client;
  }
  [[nodiscard]] std::uint64_t count(Reason reason) {
    return counters.per_listener[0].of(reason).value();
  }

  Fd socket = testing::listening_socket();
  SocketAddress address = address_of(socket);
  Listener door{context, 0, std::move(socket)};
};

}  // namespace

TEST_CASE("where proxies are named, others are refused unless they are admitted") {
  Door stage;
  stage.listener.proxy_header = {.from = {IpPrefix::parse("127.0.0.1/32").value()}};
  const Fd proxy = stage.knock();
  CHECK(stage.sessions.size() == 1);
  const Fd stranger = stage.knock(IpAddress::v4(0x7f000002));
  CHECK(stage.sessions.size() == 1);
  CHECK(stage.count(Reason::kProxyHeader) == 1);
  CHECK(testing::end_of(stage, stranger) == ECONNRESET);
  stage.listener.proxy_header->admits_others = true;
  const Fd other = stage.knock(IpAddress::v4(0x7f000002));
  CHECK(stage.sessions.size() == 2);
}

TEST_CASE("a listener's own limit counts its open connections") {
  Door stage;
  stage.listener.connections_max = 2;
  Fd first = stage.knock();
  const Fd second = stage.knock();
  CHECK(stage.connections.of_listener[0] == 2);
  const Fd third = stage.knock();
  CHECK(stage.count(Reason::kConnectionLimit) == 1);
  CHECK(testing::end_of(stage, third) == ECONNRESET);
  first.reset();
  test::turn_until(*stage.loop, [&] { return stage.sessions.size() == 1; });
  CHECK(stage.connections.of_listener[0] == 1);
  const Fd fourth = stage.knock();
  CHECK(stage.sessions.size() == 2);
  CHECK(stage.count(Reason::kConnectionLimit) == 1);
  CHECK(stage.connections.all == 2);
}

}  // namespace mc::proxy
