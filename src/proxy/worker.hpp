// SPDX-License-Identifier: Apache-2.0
#pragma once
// One thread of the data plane: a ring, a share of every listener, and the sessions that came in
// through them. It shares nothing that is written on the way of a byte.

#include <atomic>
#include <cstdint>
#include <deque>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "proxy/listener.hpp"
#include "proxy/session_walk.hpp"
#include "proxy/sockets.hpp"
#include "proxy/worker_context.hpp"
#include "ring/setup_error.hpp"

namespace mc::proxy {

/// What a worker shows of its state. Written by its thread; anyone may read.
struct WorkerSigns {
  Counter turns;                   // of its loop
  std::atomic<bool> quiet{false};  // no accept stands; notifies those who wait for it
};

/// What a worker is given, by reference, by the data plane that outlives it.
struct WorkerParts {
  const Settings& settings;
  PublishedPolicy::Reader& policy;
  Counters& counters;
  WorkerSigns& signs;
  std::atomic<std::uint64_t>& connections;
  Log& log;
  std::uint32_t log_lines_max;  // of a kind, in a second; see LineLimiter
};

class Worker final : private ring::Timer {
 public:
  /// On the thread that will run it. Accepts nothing before accept(kYes).
  static std::expected<std::unique_ptr<Worker>, ring::SetupError> create(
      WorkerParts parts, std::vector<ListeningSocket> sockets);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Serves until it was told to drain and the last session has ended.
  void run();

  /// Accept, or leave clients in the kernel's queues; signs.quiet tells when no accept stands any
  /// more. Any thread.
  enum class Accepting : std::uint8_t { kNo, kYes };
  void accept(Accepting wanted);

  /// Makes the loop turn. Any thread.
  void wake() { loop_->wake(); }

  /// Stop listening; sessions may go on until `deadline` (CLOCK_MONOTONIC), then they are reset.
  /// Any thread.
  void drain(ring::Milliseconds deadline);

  /// Reset the sessions whose client `whom` does not admit. Any thread. False if kCutOrders wait
  /// already: ask again.
  bool cut(std::shared_ptr<const policy::Firewall> whom);

 private:
  struct Cut {
    std::shared_ptr<const policy::Firewall> whom;
    SessionWalk walk;
  };

  Worker(WorkerParts parts, std::unique_ptr<ring::Loop> loop,
         std::unique_ptr<ring::BufferGroup> peek_buffers, std::vector<ListeningSocket> sockets);

  void obey();
  void open_or_suspend();
  void show_signs();
  void begin_drain();
  bool next_cut();
  void cut_slice();
  void expired() override;
  [[nodiscard]] bool done() const;

  std::unique_ptr<ring::Loop> loop_;
  std::unique_ptr<ring::BufferGroup> peek_buffers_;
  tls::ClientHelloParser parser_;
  PipePool pipes_;
  std::unique_ptr<SpliceEngine> engine_;
  std::vector<std::uint8_t> copy_buffer_;
  std::vector<Session*> sessions_;
  LineLimiter limiter_;
  WorkerContext context_;
  WorkerSigns& signs_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  Accepting accepting_ = Accepting::kNo;                     // what was carried out
  std::atomic<Accepting> accepting_wanted_{Accepting::kNo};  // the order
  ring::Milliseconds obeyed_ = 0;                            // the last order that was carried out
  std::atomic<ring::Milliseconds> drain_by_{0};              // the order: 0, none

  std::optional<Cut> cut_;  // under way
  std::mutex mailbox_;
  std::deque<std::shared_ptr<const policy::Firewall>> cuts_ordered_;  // under mailbox_; the next
  std::atomic<bool> has_mail_{false};                                 // whether there are any
};

}  // namespace mc::proxy
