// SPDX-License-Identifier: Apache-2.0
#include "proxy/relay_watch.hpp"

#include <sys/socket.h>

#include <chrono>
#include <string>

#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "unit/proxy/stage.hpp"

namespace mc::proxy {
namespace {

using namespace std::chrono_literals;

// A relay of two connections that moves nothing by itself.
struct Scene {
  explicit Scene(std::chrono::milliseconds idle_timeout) {
    stage.listener.idle_timeout = idle_timeout;
    facts.moved_at = loop.now();
    for (auto [near, far] :
         {std::pair{&client, &client_peer}, std::pair{&backend, &backend_peer}}) {
      int ends[2];
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
      *near = Fd(ends[0]);
      *far = Fd(ends[1]);
    }
    parts.client = client.get();
    parts.backend = backend.get();
  }

  void turn_until(Instant when) {
    struct Alarm final : ring::Timer {
      void expired() override {}
    } alarm;
    loop.timers().arm(alarm, when);
    test::turn_until(loop, [&] { return loop.now() >= when; });
    loop.timers().disarm(alarm);
  }
  void turn_until_interrupted() {
    test::turn_until(loop, [this] { return interruption.reason() != Reason::kNone; });
  }

  testing::Stage stage;
  ring::Loop& loop = *stage.loop;
  traffic::ConnectionFacts facts;
  Interruption interruption;
  Fd client, client_peer, backend, backend_peer;
  RelayParts parts{stage.context, facts, interruption, -1, -1};
};

// Longer than a turn of the loop, on a busy machine too.
constexpr std::chrono::milliseconds kIdle{200};

}  // namespace

TEST_CASE("a relay that moves nothing for the idle timeout is interrupted, and not before") {
  Scene scene(kIdle);
  const Instant began = scene.facts.moved_at;
  RelayWatch watch(scene.parts);
  watch.start();
  scene.turn_until_interrupted();
  CHECK(scene.interruption.reason() == Reason::kIdleTimeout);
  CHECK(scene.loop.now() >= began + kIdle);
  watch.stop();
}

TEST_CASE("the time begins anew with each byte") {
  Scene scene(kIdle);
  RelayWatch watch(scene.parts);
  watch.start();
  const Instant moved = scene.loop.now() + kIdle / 2;
  scene.facts.moved_at = moved;
  scene.turn_until_interrupted();
  CHECK(scene.loop.now() >= moved + kIdle);
  watch.stop();
}

TEST_CASE("a slow reader that takes what the kernel has for it is not idle") {
  constexpr auto kLonger = 2 * kIdle;  // for what is done between its middle and its end
  Scene scene(kLonger);
  const bool to_client = GENERATE(true, false);
  const Fd& near = to_client ? scene.client : scene.backend;
  const Fd& far = to_client ? scene.client_peer : scene.backend_peer;
  const std::string queued(1000, 'x');
  REQUIRE(::send(near.get(), queued.data(), queued.size(), 0) == std::ssize(queued));
  const Instant began = scene.facts.moved_at;
  RelayWatch watch(scene.parts);
  watch.start();
  scene.turn_until(began + kLonger / 2 + 1ms);
  std::string taken(queued.size(), '-');
  REQUIRE(::recv(far.get(), taken.data(), taken.size(), 0) == std::ssize(queued));
  scene.turn_until(began + kLonger * 5 / 4);
  CHECK(scene.interruption.reason() == Reason::kNone);
  CHECK(scene.facts.moved_at >= began + kLonger);
  scene.turn_until_interrupted();  // it takes nothing more
  CHECK(scene.interruption.reason() == Reason::kIdleTimeout);
  watch.stop();
}

TEST_CASE("without an idle timeout a relay may be silent") {
  Scene scene(0ms);
  RelayWatch watch(scene.parts);
  watch.start();
  scene.turn_until(scene.loop.now() + kIdle);
  CHECK(scene.interruption.reason() == Reason::kNone);
  watch.stop();
}

TEST_CASE("a read that was taken for all there is is looked at again, once, soon after") {
  const auto idle_timeout = GENERATE(0ms, 60'000ms);
  Scene scene(idle_timeout);
  RelayWatch watch(scene.parts);
  watch.start();
  const Instant asked = scene.loop.now();
  watch.recheck_soon();
  watch.recheck_soon();
  CHECK_FALSE(watch.take_recheck());
  scene.turn_until(asked + kUrgentRecheck + 1ms);
  CHECK(watch.take_recheck());
  CHECK_FALSE(watch.take_recheck());
  CHECK(scene.interruption.reason() == Reason::kNone);
  scene.turn_until(scene.loop.now() + kUrgentRecheck + 1ms);
  CHECK_FALSE(watch.take_recheck());
  watch.recheck_soon();  // of another read
  scene.turn_until(scene.loop.now() + kUrgentRecheck + 1ms);
  CHECK(watch.take_recheck());
  watch.stop();
}

}  // namespace mc::proxy
