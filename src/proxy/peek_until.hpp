// SPDX-License-Identifier: Apache-2.0
#pragma once
// Waits until the start of a client's stream has been judged, without taking a byte of it. The
// stages before the relay all begin with it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <variant>

#include "net/sockets.hpp"
#include "proxy/limits.hpp"
#include "proxy/session_parts.hpp"
#include "ring/operations.hpp"
#include "ring/task.hpp"

namespace mc::proxy {

/// The bytes so far say nothing yet: more than there are is needed, counted from the start of the
/// stream.
struct NeedsBytes {
  std::size_t needed = 0;
};

/// kNone: the session goes on.
using Judgement = std::variant<NeedsBytes, Reason>;

/// Whether the client has left, although its queue holds bytes: its end of stream cannot be peeked.
/// kNone: it has not.
Reason why_stalled(int client);

/// Calls `judge`, which takes the bytes so far and returns a Judgement, whenever there are more,
/// and returns its reason; or kClientClosed, kClientReset, `late` after the timeout, or the reason
/// of an order to end.
template <class Judge>
ring::Task<Reason> peek_until(SessionParts parts, std::chrono::milliseconds timeout, Reason late,
                              Judge judge) {
  auto& [context, facts, interruption, client] = parts;
  Deadline deadline(context.loop, interruption, timeout, late);
  ring::PeekMode mode = ring::PeekMode::kAtOnce;
  std::size_t seen = 0;
  for (;;) {
    Judgement judgement;
    bool grown = false;
    {
      ring::Peek peek(context.loop, client.get(), context.peek_buffers, mode);
      const int peeked = co_await interruption.reaches(peek);
      if (peeked == -ENOBUFS) {  // all buffers were used in this turn, and return in it
        co_await context.loop.yield();
        continue;
      }
      if (peeked == 0) co_return interruption.reason_or(Reason::kClientClosed);
      if (peeked < 0) co_return interruption.reason_or(Reason::kClientReset);
      facts.has_spoken = true;
      grown = peek.bytes().size() > seen;
      seen = peek.bytes().size();
      judgement = judge(peek.bytes());
    }
    if (const Reason* const verdict = std::get_if<Reason>(&judgement)) {
      if (mode == ring::PeekMode::kWhenReadable) net::set_receive_low_water(client.get(), 1);
      deadline.met(context.loop);
      co_return *verdict != Reason::kNone ? *verdict : interruption.reason_or(Reason::kNone);
    }
    if (interruption.reason() != Reason::kNone) co_return interruption.reason();
    if (!grown) {
      const Reason stalled = why_stalled(client.get());
      if (stalled != Reason::kNone) co_return stalled;
      ring::Sleep rest(context.loop, context.loop.now() + kHelloRetry);
      co_await interruption.reaches(rest);
    }
    net::set_receive_low_water(client.get(), std::get<NeedsBytes>(judgement).needed);
    mode = ring::PeekMode::kWhenReadable;
  }
}

}  // namespace mc::proxy
