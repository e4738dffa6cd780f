// SPDX-License-Identifier: Apache-2.0
#pragma once
// What systemd is about to do with the unit that a process belongs to, as systemd says on the
// system bus (org.freedesktop.systemd1(5)). One thread at a time.

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/result.hpp"

namespace mc::lifecycle {

/// Whether systemd is restarting the unit of this process, and will so start it again. An error
/// where systemd runs but does not say: no bus, no answer within kBusMax.
Result<bool> restart_is_under_way();

/// The system's service unit that this process is the server of: its main process, or the child of
/// the keeper that is. "mc-proxy.service". Empty if there is none, also where the process only
/// happens to be in a unit, or is one of those that the unit's main process has started.
std::string service_of(pid_t pid);

/// Notices that systemd is asked to stop the unit of this process, when the process is not the
/// unit's main process any more: after a restart whose new server does not start, `systemctl stop`
/// has no process to signal. Opened before the main process ends. One thread.
class StopWatch {
 public:
  static Result<std::unique_ptr<StopWatch>> open();
  StopWatch(const StopWatch&) = delete;
  StopWatch& operator=(const StopWatch&) = delete;
  ~StopWatch();

  /// Readable (poll(2)) when stop_was_ordered() has something to look at; -1 once the bus is gone.
  [[nodiscard]] int fd() const;
  /// Whether the bus has gone: nothing will be noticed any more, and another one is to be opened.
  [[nodiscard]] bool is_gone() const;
  /// Whether an operator has stopped the unit. Waits kBusMax for the bus at the most.
  [[nodiscard]] bool stop_was_ordered();

 private:
  struct Subscription;

  explicit StopWatch(std::unique_ptr<Subscription> subscription);

  std::unique_ptr<Subscription> subscription_;
};

}  // namespace mc::lifecycle
