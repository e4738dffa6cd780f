// SPDX-License-Identifier: Apache-2.0
#pragma once
// Moves every byte between two connected sockets, both ways at once, until both have ended: socket
// to pipe to socket, inside the kernel. Each direction is a small machine that goes as far as it
// can in one turn; one coroutine turns both and sleeps in between. An idle relay owns two standing
// polls and no pipe, no buffer.
//
// What must never happen: an end of stream (FIN) forwarded before the last byte, or for a
// connection that was reset.

#include <cstdint>

#include "proxy/interruption.hpp"
#include "proxy/worker_context.hpp"
#include "ring/event.hpp"
#include "ring/operations.hpp"
#include "ring/task.hpp"
#include "traffic/facts.hpp"

namespace mc::proxy {

/// What a relay works with, all of its session, which outlives it.
struct RelayParts {
  WorkerContext& context;
  traffic::ConnectionFacts& facts;
  Interruption& interruption;
  int client;  // connected sockets
  int backend;
};

/// Moves bytes both ways until both sides have ended, one has failed or the session is interrupted.
/// Returns why; the kernel then holds neither socket any more, so that a close sends its FIN or
/// RST.
ring::Task<Reason> relay(RelayParts parts);

/// One of the two sockets, and what is known of its readiness. The ring reports edges, so
/// `readable` and `writable` mean "not known to be exhausted": cleared before each attempt and set
/// again by success, so that an edge that arrives while an attempt is under way is never lost.
struct RelaySide {
  RelaySide(ring::Loop& loop, ring::Event& event, int descriptor)
      : poll(loop, event), fd(descriptor) {}

  void start();
  /// Takes in what the ring has reported.
  void absorb();
  /// The socket takes no more: from now on the ring reports that it does again, too.
  void block_writing();
  /// Whether more is to be read than was known when the last read began.
  [[nodiscard]] bool has_more() const;
  /// Asks what the last read has skipped (kUrgentRecheck).
  void recheck_urgent();
  /// Whether the next byte to read is one that TCP marked as urgent.
  [[nodiscard]] bool at_urgent_mark() const;

  ring::Poll poll;
  int fd;
  // One byte, since every idle connection has two of them.
  bool readable : 1 = false;
  bool writable : 1 = true;
  bool hung_up : 1 = false;        // its end of stream, or worse, is on its way through the queue
  bool failed : 1 = false;         // reset or otherwise lost
  bool probe_skipped : 1 = false;  // the last read was taken for all there is, without has_more()
};

/// What a direction works with in a turn. Not its own: an idle connection pays for each byte.
struct RelayPath {
  WorkerContext& context;
  ring::Event& event;
  RelaySide& from;
  RelaySide& to;
};

/// One direction. Bytes leave `from`, pass through a leased pipe, enter `to`.
class RelayDirection {
 public:
  enum class Turn : std::uint8_t {
    kBlocked,  // waits for either socket, or has finished, or has failed
    kMore,     // used up its share of this turn
  };
  /// Moves what can be moved now. The path is the same in every turn.
  Turn turn(const RelayPath& path);

  /// The source has ended, every byte was delivered and the end was passed on.
  [[nodiscard]] bool finished() const { return finished_; }
  /// A splice of this direction is with the kernel.
  [[nodiscard]] bool busy() const { return pipe_ != nullptr && pipe_->operation.in_flight(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// After the last turn, once nothing is busy: counts what the last splice of the ring delivered
  /// after all.
  void settle();

 private:
  enum class Step : std::uint8_t { kMoved, kBlocked };  // kMoved: another step may get further

  Step step(const RelayPath& path);
  Step fill(const RelayPath& path);
  [[nodiscard]] bool may_go_on(RelaySide& from) const;
  Step flush(const RelayPath& path);
  Step copy(const RelayPath& path);
  Step end_of_stream(const RelayPath& path);
  [[nodiscard]] bool splice_under_way() const { return pipe_ != nullptr && pipe_->busy(); }

  PipeLease pipe_;
  std::uint64_t bytes_ = 0;
  bool ended_ = false;
  bool finished_ = false;
};

}  // namespace mc::proxy
