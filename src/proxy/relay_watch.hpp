// SPDX-License-Identifier: Apache-2.0
#pragma once
// Wakes a relay for what no event of its sockets announces: that nothing has moved for the idle
// timeout, and that a read may have left an urgent byte. Its worker's thread only.

#include <cstdint>
#include <utility>

#include "proxy/relay.hpp"
#include "ring/timer_wheel.hpp"

namespace mc::proxy {

class RelayWatch final : private ring::Timer {
 public:
  /// `parts` outlive it.
  explicit RelayWatch(const RelayParts& parts) : parts_(parts) {}

  /// Begins to look for silence: by itself, or by the kernel's keep-alive.
  void start();
  void stop();

  /// A read was taken for all there is: rechecks after kUrgentRecheck.
  void recheck_soon();
  /// Whether a recheck is due. It is taken.
  [[nodiscard]] bool take_recheck() { return std::exchange(recheck_due_, false); }

 private:
  void expired() override;
  bool has_been_idle();

  const RelayParts& parts_;
  std::uint32_t queued_ = 0;  // in both send queues, in the middle of the idle timeout
  bool recheck_armed_ = false;
  bool recheck_due_ = false;
};

}  // namespace mc::proxy
