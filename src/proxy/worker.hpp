// SPDX-License-Identifier: Apache-2.0
#pragma once
// One thread of the data plane: a ring, a share of every listener, and the sessions that came in
// through them. It shares nothing that is written on the way of a byte.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <vector>

#include "net/sockets.hpp"
#include "proxy/listener.hpp"
#include "proxy/live_connection.hpp"
#include "proxy/sweep.hpp"
#include "proxy/worker_context.hpp"
#include "ring/setup_error.hpp"

namespace mc::proxy {

/// A worker's state for others. Written by its thread; any thread may read.
struct WorkerStatus {
  traffic::Counter turns;                  // of its loop
  std::atomic<bool> not_accepting{false};  // no accept stands; notifies the waiters
};

/// What a worker is given, by reference, by the data plane that outlives it.
struct WorkerParts {
  std::uint32_t index;
  const Settings& settings;
  policy::PublishedPolicy::Reader& policy;
  traffic::Counters& counters;
  WorkerStatus& status;
  OpenConnections& connections;
  traffic::EventHub& events;
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

  /// Serves until a drain was ordered and the last session has ended.
  void run();

  /// Accept, or leave clients in the kernel's queues; status.not_accepting is set once no accept
  /// stands any more. Any thread.
  enum class Accepting : std::uint8_t { kNo, kYes };
  void accept(Accepting wanted);

  /// Makes the loop turn. Any thread.
  void wake() { loop_->wake(); }

  /// Stops listening; sessions may continue until `deadline`, then they are reset. Any thread.
  void drain(Instant deadline);

  /// Takes the sweep, and carries it out one slice at a time. Any thread. Returns false, and does
  /// not take the sweep, if it has kSweepsMax already: retry later.
  bool submit(std::unique_ptr<Sweep>& sweep);

 private:
  struct UnderWay {
    UnderWay(std::unique_ptr<Sweep> what, LiveConnections& sessions)
        : sweep(std::move(what)), walk(sessions) {}

    std::unique_ptr<Sweep> sweep;
    LiveConnections::Walk walk;
  };

  Worker(WorkerParts parts, std::unique_ptr<ring::Loop> loop,
         std::unique_ptr<ring::BufferGroup> peek_buffers, std::vector<ListeningSocket> sockets);

  void apply_commands();
  void open_or_suspend();
  void show_status();
  void begin_drain();
  void take_sweeps();
  void carry_out_a_slice();
  bool do_slice(UnderWay& under_way);
  void expired() override;
  [[nodiscard]] bool done() const;

  std::unique_ptr<ring::Loop> loop_;
  std::unique_ptr<ring::BufferGroup> peek_buffers_;
  tls::ClientHelloParser parser_;
  PipePool pipes_;
  std::unique_ptr<SpliceEngine> engine_;
  std::vector<std::uint8_t> copy_buffer_;
  LiveConnections sessions_;
  traffic::LineLimiter limiter_;
  traffic::EventSource events_;
  traffic::Reporter reporter_;
  WorkerContext context_;
  WorkerStatus& status_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  Accepting accepting_ = Accepting::kNo;                     // what was carried out
  std::atomic<Accepting> accepting_wanted_{Accepting::kNo};  // the command
  Instant draining_by_;                                      // what was carried out
  std::atomic<Instant> drain_by_{};                          // the command; the epoch: none

  std::vector<std::unique_ptr<UnderWay>> under_way_;  // the next one first
  std::mutex mailbox_;
  std::vector<std::unique_ptr<Sweep>> submitted_;  // under mailbox_
  std::size_t sweeps_ = 0;             // under mailbox_: those submitted, and those under way
  std::atomic<bool> has_mail_{false};  // whether any is submitted
};

}  // namespace mc::proxy
