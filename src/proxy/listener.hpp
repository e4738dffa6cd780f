// SPDX-License-Identifier: Apache-2.0
#pragma once
// One worker's share of one listening address: accepts, applies the firewall and the connection
// limit before it spends anything on the client, and starts its session. Its worker's thread only.

#include <cstddef>
#include <cstdint>

#include "base/fd.hpp"
#include "proxy/worker_context.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

/// A socket that listens, and the place of its listener in the configuration.
struct ListeningSocket {
  std::size_t listener = 0;
  Fd fd;
};

class Listener final : private ring::Accept, private ring::Timer {
 public:
  /// `index`: the listener's place in the configuration. Takes a socket that listens already.
  Listener(WorkerContext& context, std::size_t index, Fd socket);

  /// Starts or resumes accepting.
  void open();
  /// Stops accepting, and leaves new clients in the kernel's queue. Clients that the kernel had
  /// handed over already are served.
  void suspend();
  /// No accept stands, so another process may own the queue.
  [[nodiscard]] bool quiet() const { return state_ != State::kOpen && !in_flight(); }
  /// Stops listening: later clients are refused. First serves what the kernel has queued, unless it
  /// was not accepting: then another process owns the queue.
  void close();
  [[nodiscard]] bool closed() const { return !socket_; }

 private:
  void accepted(int fd) override;
  void ended(int error) override;
  void expired() override;

  void admit(Fd client);
  [[nodiscard]] Reason refusal(const SocketAddress& peer) const;
  void refuse(Fd client, const SocketAddress& peer, Reason reason);
  void pause(int error);
  void resume();
  void forget_pause();
  void finish();

  WorkerContext& context_;
  std::size_t index_;
  Fd socket_;
  enum class State : std::uint8_t { kSuspended, kOpen, kClosing };
  State state_ = State::kSuspended;
  bool queue_is_ours_ = false;  // at the close
  bool paused_ = false;         // out of descriptors or memory; logged once
};

}  // namespace mc::proxy
