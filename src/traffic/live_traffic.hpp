// SPDX-License-Identifier: Apache-2.0
#pragma once
// The connections that this process serves, for those who count, show and end them: the admin API
// and the metrics. Any thread, while it exists.

#include <cstdint>
#include <functional>
#include <span>

#include "traffic/connection.hpp"
#include "traffic/event_hub.hpp"
#include "traffic/totals.hpp"

namespace mc::traffic {

class LiveTraffic {
 public:
  /// Whether the caller still wants the result.
  using Wanted = std::function<bool()>;

  LiveTraffic() = default;
  LiveTraffic(const LiveTraffic&) = delete;
  LiveTraffic& operator=(const LiveTraffic&) = delete;

  [[nodiscard]] virtual Totals totals() const = 0;

  /// Whether clients are served as they come: no drain was ordered, every worker runs, and none of
  /// its listeners is paused by a lack of descriptors or memory.
  [[nodiscard]] virtual bool accepting() const = 0;

  /// The events of connections.
  [[nodiscard]] virtual EventHub& events() = 0;

  /// Passes every open connection that matches to `take`, once, in no particular order, as it is
  /// when visited. `take` gets some at a time, on the calling thread; it may be slow, and ends the
  /// listing by returning false. Connections that open or end meanwhile may be missing.
  virtual void list(const ConnectionFilter& filter,
                    const std::function<bool(std::span<const Connection>)>& take) = 0;
  /// Resets all open connections that match (kClosedByOperator), some at a time. Returns their
  /// number when done; from the first time that `wanted` returns false the rest stays open.
  virtual std::uint64_t close(const ConnectionFilter& filter, const Wanted& wanted) = 0;
  /// How many connections close() would reset.
  virtual std::uint64_t count(const ConnectionFilter& filter, const Wanted& wanted) = 0;

 protected:
  ~LiveTraffic() = default;
};

}  // namespace mc::traffic
