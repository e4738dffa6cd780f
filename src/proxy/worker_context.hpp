// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker lends to its sessions: references to the parts that its thread owns. Owns nothing,
// and shares nothing with another thread unless a comment says so.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/mix.hpp"
#include "policy/listener_settings.hpp"
#include "policy/policy.hpp"
#include "proxy/live_connection.hpp"
#include "proxy/pipe_pool.hpp"
#include "proxy/splice_engine.hpp"
#include "ring/buffer_group.hpp"
#include "ring/loop.hpp"
#include "tls/client_hello.hpp"
#include "traffic/reporter.hpp"
#include "traffic/worker_counters.hpp"

namespace mc::proxy {

/// What the operator sets for all sessions.
struct Settings {
  std::vector<std::string> listener_names;          // as configured, by listener
  std::vector<SocketAddress> listener_addresses;    // the bound addresses, likewise
  std::vector<policy::ListenerSettings> listeners;  // likewise
  SpliceMode splice = SpliceMode::kInline;
  std::chrono::milliseconds connect_timeout{5'000};
  std::uint64_t connections_max = 0;  // of all listeners and workers together
  std::vector<IpAddress> sources;     // to dial from, in turn; none: the kernel chooses
};

/// Open connections of all workers together.
struct OpenConnections {
  explicit OpenConnections(std::size_t listeners) : of_listener(listeners) {}

  void opened(std::size_t listener, const policy::ListenerSettings& settings) {
    all.fetch_add(1, std::memory_order_relaxed);
    if (settings.connections_max == 0) return;
    of_listener[listener].fetch_add(1, std::memory_order_relaxed);
  }
  void closed(std::size_t listener, const policy::ListenerSettings& settings) {
    all.fetch_sub(1, std::memory_order_relaxed);
    if (settings.connections_max == 0) return;
    of_listener[listener].fetch_sub(1, std::memory_order_relaxed);
  }

  std::atomic<std::uint64_t> all{0};
  /// Only of listeners with a limit of their own.
  std::vector<std::atomic<std::uint64_t>> of_listener;
};

struct WorkerContext {
  const std::uint32_t worker;  // its index
  ring::Loop& loop;
  ring::BufferGroup& peek_buffers;
  tls::ClientHelloParser& parser;
  policy::PublishedPolicy::Reader& policy;
  PipePool& pipes;
  SpliceEngine& engine;
  std::span<std::uint8_t> copy_buffer;  // contents live for one call
  const Settings& settings;
  OpenConnections& connections;
  LiveConnections& sessions;  // of this worker
  traffic::Counters& counters;
  traffic::Reporter& reporter;
  Log& log;                           // any thread
  Random random;                      // for choices of backends
  std::uint64_t sessions_opened = 0;  // by this worker, so far
  std::size_t next_source = 0;        // of settings.sources
};

}  // namespace mc::proxy
