// SPDX-License-Identifier: Apache-2.0
#pragma once
// The connections that this process serves, as those see them who count, show and end them: the
// admin API and the metrics. Any thread, while it exists.

#include <cstdint>
#include <functional>
#include <span>

#include "traffic/connection.hpp"
#include "traffic/event_hub.hpp"
#include "traffic/totals.hpp"

namespace mc::traffic {

class LiveTraffic {
 public:
  /// Whether the caller still wants what it asked for.
  using Wanted = std::function<bool()>;

  LiveTraffic() = default;
  LiveTraffic(const LiveTraffic&) = delete;
  LiveTraffic& operator=(const LiveTraffic&) = delete;

  [[nodiscard]] virtual Totals totals() const = 0;

  /// Whether clients are served as they come: no drain was ordered, every worker runs, and no
  /// listener of one rests for want of descriptors or memory.
  [[nodiscard]] virtual bool accepting() const = 0;

  /// Where what happens to connections can be watched.
  [[nodiscard]] virtual EventHub& events() = 0;

  /// Shows all open connections that match, each once, in no order, as they are at their turn.
  /// `take` gets some at a time, on the calling thread; it may take its time, and ends the listing
  /// by returning false. What comes or goes meanwhile may be there or not.
  virtual void list(const ConnectionFilter& filter,
                    const std::function<bool(std::span<const Connection>)>& take) = 0;
  /// Resets all open connections that match (kClosedByOperator), some at a time. Returns when it is
  /// done, with how many they were; the first time that `wanted` returns false the rest is left
  /// open.
  virtual std::uint64_t close(const ConnectionFilter& filter, const Wanted& wanted) = 0;
  /// How many close() would reset.
  virtual std::uint64_t count(const ConnectionFilter& filter, const Wanted& wanted) = 0;

 protected:
  ~LiveTraffic() = default;
};

}  // namespace mc::traffic
