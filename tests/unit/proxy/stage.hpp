// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker lends to its listeners and sessions, on the test's own thread, which turns the
// loop.

#include <fcntl.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "net/sockets.hpp"
#include "proxy/session.hpp"
#include "support/catch.hpp"
#include "unit/net/loopback.hpp"
#include "unit/policy/routes.hpp"
#include "unit/ring/loop_fixture.hpp"

namespace mc::proxy::testing {

/// As a listener of the proxy is.
inline Fd listening_socket() {
  return std::move(
      net::open_listeners({*SocketAddress::parse_listen("127.0.0.1:0"), "here"}, 1)->front());
}

/// One listener, whose every name goes to a backend that listens and never accepts.
struct Stage {
  explicit Stage(SpliceMode mode = SpliceMode::kInline) : engine(SpliceEngine::make(mode)) {
    policies.reader(0).online();
  }
  ~Stage() { policies.reader(0).offline(); }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  static std::unique_ptr<const policy::Policy> route_everything_to(const SocketAddress& backend) {
    std::vector<policy::RouteTable> tables;
    tables.push_back(policy::RouteTable::build({policy::live_route("*", backend)}));
    return std::make_unique<const policy::Policy>(1, std::make_shared<const policy::Firewall>(),
                                                  std::move(tables));
  }

  Fd null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  Log log{{.fd = null.get()}};
  Fd backend = listening_socket();
  policy::PublishedPolicy policies{route_everything_to(test::address_of(backend)), 1};
  std::unique_ptr<ring::Loop> loop = test::make_loop();
  std::unique_ptr<ring::BufferGroup> buffers =
      std::move(*ring::BufferGroup::create(*loop, 0, 2, 1 << 17));
  tls::ClientHelloParser parser;
  PipePool pipes{*loop, 4};
  std::unique_ptr<SpliceEngine> engine;
  std::vector<std::uint8_t> copy_buffer = std::vector<std::uint8_t>(4096);
  traffic::Counters counters{1};
  Settings settings{.listener_names = {"here"}, .connections_max = 100};
  std::atomic<std::uint64_t> connections{0};
  LiveConnections sessions;
  traffic::EventHub hub;
  traffic::EventSource events{hub};
  traffic::LineLimiter limiter{loop->timers(), settings.listener_names, 20,
                               counters.lines_suppressed, log};
  traffic::Reporter reporter{settings.listener_names, counters, events, limiter, log};
  WorkerContext context{.worker = 0,
                        .loop = *loop,
                        .peek_buffers = *buffers,
                        .parser = parser,
                        .policy = policies.reader(0),
                        .pipes = pipes,
                        .engine = *engine,
                        .copy_buffer = copy_buffer,
                        .settings = settings,
                        .connections = connections,
                        .sessions = sessions,
                        .counters = counters,
                        .reporter = reporter,
                        .log = log,
                        .random = Random(1)};
};

}  // namespace mc::proxy::testing
