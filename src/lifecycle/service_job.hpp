// SPDX-License-Identifier: Apache-2.0
#pragma once
// What systemd is doing with the unit of a process, from the system bus
// (org.freedesktop.systemd1(5)). One thread at a time.

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/result.hpp"

namespace mc::lifecycle {

/// Whether systemd is restarting the unit of this process, and so will start it again. An error
/// where systemd runs but does not report it: no bus, no reply within kBusMax.
Result<bool> restart_is_under_way();

/// The system's service unit whose server this process is ("mc-proxy.service"): the process is the
/// unit's main process, or the child of the keeper that is. Empty if there is none, also where the
/// process is only one of several that the unit's main process has started.
std::string service_of(pid_t pid);

/// Notices an order to stop the unit of this process when the process is no longer the unit's main
/// process: after a restart whose new server does not start, `systemctl stop` has no process to
/// signal. Open it before the main process ends. One thread.
class StopWatch {
 public:
  static Result<std::unique_ptr<StopWatch>> open();
  StopWatch(const StopWatch&) = delete;
  StopWatch& operator=(const StopWatch&) = delete;
  ~StopWatch();

  /// Readable (poll(2)) when stop_was_ordered() has something to read; -1 once the bus is gone.
  [[nodiscard]] int fd() const;
  /// Whether the bus is gone: this one notices nothing any more; open another one.
  [[nodiscard]] bool is_gone() const;
  /// Whether an operator has stopped the unit. Waits at most kBusMax for the bus.
  [[nodiscard]] bool stop_was_ordered();

 private:
  struct Subscription;

  explicit StopWatch(std::unique_ptr<Subscription> subscription);

  std::unique_ptr<Subscription> subscription_;
};

}  // namespace mc::lifecycle
