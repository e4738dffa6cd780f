// SPDX-License-Identifier: Apache-2.0
#include "proxy/listener.hpp"

#include <sys/socket.h>

#include <utility>

#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "unit/proxy/stage.hpp"

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

}  // namespace mc::proxy
