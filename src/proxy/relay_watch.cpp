// SPDX-License-Identifier: Apache-2.0
#include "proxy/relay_watch.hpp"

#include "net/sockets.hpp"
#include "proxy/limits.hpp"

namespace mc::proxy {

// The idle timeout notices a peer that vanished. Where it comes late or never the kernel has to,
// whose timers and option cost a connection 1.5 us.
void RelayWatch::start() {
  const auto timeout = parts_.idle_timeout();
  ring::Loop& loop = parts_.context.loop;
  if (timeout.count() > 0) loop.timers().arm(*this, loop.now() + timeout / 2);
  if (timeout.count() > 0 && timeout <= kIdleBeforeKeepAlive) return;
  net::keep_alive(parts_.client);
  net::keep_alive(parts_.backend);
}

void RelayWatch::stop() { parts_.context.loop.timers().disarm(*this); }

void RelayWatch::recheck_soon() {
  if (std::exchange(recheck_armed_, true)) return;
  ring::Loop& loop = parts_.context.loop;
  const Instant when = loop.now() + kUrgentRecheck;
  if (!armed() || expiry() > when) loop.timers().arm(*this, when);
}

void RelayWatch::expired() {
  if (std::exchange(recheck_armed_, false)) {
    recheck_due_ = true;
    parts_.interruption.wake();
  }
  if (parts_.idle_timeout().count() > 0 && has_been_idle()) {
    parts_.interruption.time_out(Reason::kIdleTimeout);
  }
}

// Moving bytes does not touch the timer; it looks for itself how long nothing has moved. A slow
// reader can make progress without a byte moved here, out of the kernel's send queue: that is
// sampled in the middle of the time.
bool RelayWatch::has_been_idle() {
  const auto timeout = parts_.idle_timeout();
  const Instant now = parts_.context.loop.now();
  Instant& moved_at = parts_.facts.moved_at;
  ring::TimerWheel& timers = parts_.context.loop.timers();
  if (now < moved_at + timeout / 2) {
    timers.arm(*this, moved_at + timeout / 2);
    return false;
  }
  const std::uint32_t queued =
      net::send_queue_bytes(parts_.client) + net::send_queue_bytes(parts_.backend);
  if (now < moved_at + timeout) {
    queued_ = queued;
    timers.arm(*this, moved_at + timeout);
    return false;
  }
  if (queued == queued_) return true;
  moved_at = now;
  timers.arm(*this, moved_at + timeout / 2);
  return false;
}

}  // namespace mc::proxy
