// SPDX-License-Identifier: Apache-2.0
#pragma once
// Moves every byte between two connected sockets, both ways at once, until both have ended: socket
// to pipe to socket, inside the kernel. Each direction is a small machine that goes as far as it
// can in one turn; one coroutine turns both and sleeps in between. An idle relay owns two standing
// polls and no pipe, no buffer.
//
// What must never happen: an end of stream (FIN) forwarded before the last byte, or for a
// connection that was reset.

#include <chrono>
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

  [[nodiscard]] std::chrono::milliseconds idle_timeout() const {
    return context.settings.listeners[facts.listener].idle_timeout;
  }
};

/// Moves bytes both ways until both sides have ended, one has failed or the session is interrupted.
/// Returns why; the kernel then holds neither socket any more, so that a close sends its FIN or
/// RST.
ring::Task<Reason> relay(RelayParts parts);

/// One of the two sockets, and what is known of it. The ring reports edges: what an attempt has not
/// found exhausted is reported only once. So a state is set to exhausted before an attempt, and an
/// edge sets it back, as in this order of events (with a splice of the ring; writing has the same):
/// 1. The relay starts a read: `input` is kExhausted.
/// 2. The kernel finds the queue empty; its EAGAIN is on the way.
/// 3. A segment arrives. The poll reports it: `input` is kReadable.
/// 4. The relay takes the EAGAIN of step 2. It is older than step 3, so `input` stays kReadable.
/// Were step 4 to set kExhausted, the segment would wait for an edge that never comes.
struct RelaySide {
  enum class Input : std::uint8_t {
    kExhausted,    // nothing is queued; an edge reports what comes
    kTakenForAll,  // most likely nothing is queued; an urgent byte may be (kUrgentRecheck)
    kReadable,     // a read may find something
  };
  enum class Output : std::uint8_t {
    kFull,      // an edge reports room
    kWritable,  // a write may find room
  };
  enum class Stream : std::uint8_t {  // only ever goes on to a later one
    kOpen,
    kHungUp,  // its end, or worse, follows what is queued: no further edge reports it
    kFailed,  // reset, or lost otherwise
  };

  RelaySide(ring::Loop& loop, ring::Event& event, int descriptor)
      : poll(loop, event), fd(descriptor) {}

  void start();
  /// Takes in what the ring has reported.
  void absorb();
  /// The socket takes no more: from now on the ring reports that it does again, too.
  void block_writing();
  /// Whether more is to be read than was known when the last read began.
  [[nodiscard]] bool has_more() const;
  /// Asks what the last read did not (kTakenForAll).
  void recheck_urgent();
  /// Whether the next byte to read is one that TCP marked as urgent.
  [[nodiscard]] bool at_urgent_mark() const;
  [[nodiscard]] bool is_readable() const { return input == Input::kReadable; }
  [[nodiscard]] bool is_writable() const { return output == Output::kWritable; }
  [[nodiscard]] bool has_failed() const { return stream == Stream::kFailed; }
  void fail() { stream = Stream::kFailed; }

  ring::Poll poll;
  int fd;
  Input input = Input::kExhausted;
  Output output = Output::kWritable;
  Stream stream = Stream::kOpen;
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
  [[nodiscard]] bool finished() const { return phase_ == Phase::kFinished; }
  /// A splice of this direction is with the kernel.
  [[nodiscard]] bool busy() const { return pipe_ != nullptr && pipe_->operation.in_flight(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// After the last turn, once nothing is busy: counts what the last splice of the ring delivered
  /// after all.
  void settle();

 private:
  enum class Step : std::uint8_t { kMoved, kBlocked };  // kMoved: another step may get further
  enum class Phase : std::uint8_t {
    kMoving,
    kEnding,    // the source has ended; the pipe may hold its last bytes
    kFinished,  // the end was passed on
  };

  Step step(const RelayPath& path);
  Step fill(const RelayPath& path);
  [[nodiscard]] RelaySide::Input left_after_fill(const RelaySide& from) const;
  Step flush(const RelayPath& path);
  Step copy(const RelayPath& path);
  Step end_of_stream(const RelayPath& path);
  [[nodiscard]] bool splice_under_way() const { return pipe_ != nullptr && pipe_->busy(); }

  PipeLease pipe_;
  std::uint64_t bytes_ = 0;
  Phase phase_ = Phase::kMoving;
};

}  // namespace mc::proxy
