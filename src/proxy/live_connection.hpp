// SPDX-License-Identifier: Apache-2.0
#pragma once
// An open connection as others than its session see it, over any transport: what is known of it,
// and how to end it. Its worker's thread only.

#include <cstdint>

#include "proxy/interruption.hpp"
#include "proxy/session_list.hpp"
#include "traffic/facts.hpp"

namespace mc::proxy {

class LiveConnection {
 public:
  LiveConnection(const LiveConnection&) = delete;
  LiveConnection& operator=(const LiveConnection&) = delete;

  [[nodiscard]] const traffic::ConnectionFacts& facts() const { return facts_; }
  /// Makes it end soon, with this reason, in any stage.
  void interrupt(Reason reason) { interruption_.interrupt(reason); }
  /// It has an order to end, or ends by itself: another order would have no effect.
  [[nodiscard]] bool is_ending() const { return interruption_.is_final(); }

 protected:
  LiveConnection() = default;
  ~LiveConnection() = default;

  traffic::ConnectionFacts facts_;
  Interruption interruption_;

 private:
  friend class SessionList<LiveConnection>;

  std::uint32_t place_ = 0;  // in the list
};

using LiveConnections = SessionList<LiveConnection>;

}  // namespace mc::proxy
