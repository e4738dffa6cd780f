// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker lends to its listeners and sessions, on the test's own thread, which turns the
// loop.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/sockets.hpp"
#include "policy/live_pool.hpp"
#include "proxy/limits.hpp"
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

/// A pool that goes through these backends in their order.
inline policy::Pool pool_of(const std::vector<BackendAddress>& addresses,
                            policy::PoolSettings settings = {}, std::string name = "app") {
  settings.balance = policy::Balance::kRoundRobin;
  policy::Pool pool{.name = std::move(name), .settings = settings, .backends = {}};
  for (const BackendAddress& address : addresses) pool.backends.push_back({.address = address});
  return pool;
}

inline policy::LiveRoute route_to_pool(std::string_view pattern, std::string pool) {
  return {.spec = {.pattern = policy::pattern_of(pattern),
                   .match = {},
                   .target = policy::PoolName{std::move(pool)}}};
}

/// One listener, whose every name goes to a backend that listens and never accepts.
struct Stage {
  explicit Stage(SpliceMode mode = SpliceMode::kInline) : engine(SpliceEngine::make(mode)) {
    policies.reader(0).online();
  }
  ~Stage() { policies.reader(0).offline(); }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  static std::unique_ptr<const policy::Policy> policy_of(std::vector<policy::LiveRoute> routes,
                                                         const policy::LivePools& pools = {},
                                                         policy::FirewallRules rules = {}) {
    std::vector<policy::RouteTable> tables;
    tables.push_back(policy::RouteTable::build(std::move(routes)));
    return std::make_unique<const policy::Policy>(
        1, std::make_shared<const policy::Firewall>(std::move(rules)), std::move(tables),
        std::make_shared<const policy::LivePools>(pools));
  }
  static std::unique_ptr<const policy::Policy> route_everything_to(const BackendAddress& address) {
    return policy_of({policy::live_route("*", address)});
  }

  void publish(std::unique_ptr<const policy::Policy> policy) {
    policies.reader(0).offline();
    policies.publish(std::move(policy));
    policies.reader(0).online();
  }
  /// Every name goes to the pool, which is the only one.
  void publish_pool(policy::Pool pool) {
    policy::LivePools pools;
    const std::string name = pool.name;
    pools.emplace(name, std::make_shared<const policy::LivePool>(
                            std::move(pool), policy::ResolvedNames(), nullptr, Instant()));
    publish(policy_of({route_to_pool("*", name)}, pools));
  }
  [[nodiscard]] const policy::LivePool& pool(std::string_view name = "app") {
    return *policies.reader(0).get().pool(name);
  }

  /// What has been logged.
  std::string logged() {
    log.flush();
    std::string text(1 << 16, '\0');
    const ssize_t size = ::pread(log_file.get(), text.data(), text.size(), 0);
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return text;
  }

  Fd log_file{::memfd_create("log", MFD_CLOEXEC)};
  Log log{{.priorities = LogPriorities::kNever, .fd = log_file.get()}};
  Fd backend = listening_socket();
  policy::PublishedPolicy policies{route_everything_to(test::address_of(backend)), 1};
  std::unique_ptr<ring::Loop> loop = test::make_loop();
  std::unique_ptr<ring::BufferGroup> buffers =
      std::move(*ring::BufferGroup::create(*loop, 0, 2, 1 << 17));
  tls::ClientHelloParser parser;
  PipePool pipes{*loop, 4};
  std::unique_ptr<SpliceEngine> engine;
  std::vector<std::uint8_t> copy_buffer = std::vector<std::uint8_t>(kCopyBytes);
  traffic::Counters counters{1};
  Settings settings{.listener_names = {"here"}, .listeners = {{}}, .connections_max = 100};
  /// Of its only listener.
  policy::ListenerSettings& listener = settings.listeners.front();
  OpenConnections connections{1};
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
