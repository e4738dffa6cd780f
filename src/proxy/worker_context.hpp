// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker lends to its sessions: references to the parts that its thread owns. Nothing here
// is owned, and nothing is shared with another thread except what says so.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "policy/policy.hpp"
#include "policy/published.hpp"
#include "proxy/connection.hpp"
#include "proxy/counters.hpp"
#include "proxy/event_hub.hpp"
#include "proxy/line_limiter.hpp"
#include "proxy/pipe_pool.hpp"
#include "proxy/session_list.hpp"
#include "proxy/splice_engine.hpp"
#include "ring/buffer_group.hpp"
#include "ring/loop.hpp"
#include "tls/client_hello.hpp"

namespace mc::proxy {

class Session;

using PublishedPolicy = policy::Published<policy::Policy>;

/// What the operator sets for all sessions.
struct Settings {
  std::vector<std::string> listener_names;        // as configured, by listener
  std::vector<SocketAddress> listener_addresses;  // that they are bound to, likewise
  SpliceMode splice = SpliceMode::kInline;
  std::chrono::milliseconds hello_timeout{10'000};
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds idle_timeout{300'000};  // 0: never
  std::uint64_t connections_max = 0;                // of all workers together
};

struct WorkerContext {
  ring::Loop& loop;
  ring::BufferGroup& peek_buffers;
  tls::ClientHelloParser& parser;
  PublishedPolicy::Reader& policy;
  PipePool& pipes;
  SpliceEngine& engine;
  std::span<std::uint8_t> copy_buffer;  // contents live for one call
  Counters& counters;
  const Settings& settings;
  std::atomic<std::uint64_t>& connections;  // open sessions of all workers
  Log& log;                                 // any thread
  SessionList<Session>& sessions;           // of this worker
  ConnectionId& last_id;                    // that a session of this worker got
  EventSource& events;
  LineLimiter& limiter;  // of what is logged of refused clients
};

}  // namespace mc::proxy
