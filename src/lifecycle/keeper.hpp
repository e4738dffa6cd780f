// SPDX-License-Identifier: Apache-2.0
#pragma once
// The process that systemd knows as the service: a parent that only waits for the server and passes
// signals on. It exists for `systemctl restart`: systemd starts the next server only when this
// process has ended. So it ends at once, while the server stays, serves until the next one takes
// over, and then finishes its sessions. A stop without a restart waits for the sessions.
//
// The server's notifications to systemd go through the keeper (notifier.hpp).
//
// If the keeper dies in any other way, the server is killed with it; if the server ends, the keeper
// ends with its exit code.

#include <cstdint>
#include <utility>
#include <variant>

#include "base/fd.hpp"
#include "lifecycle/inherited_sockets.hpp"

namespace mc::lifecycle {

/// What the keeper orders the server to do.
enum class Order : char {
  kNothing = 0,
  kStop = 's',    // as SIGTERM
  kCut = 'c',     // as the second one
  kReload = 'r',  // as SIGHUP
  kLeave = 'l',   // the keeper leaves: a successor comes
};

/// The server's end of the line to its keeper. One thread.
class KeeperLine {
 public:
  KeeperLine() = default;
  explicit KeeperLine(Fd socket) : socket_(std::move(socket)) {}

  /// Readable (poll(2)) when there is an order; -1 without a keeper, and when it is gone.
  [[nodiscard]] int fd() const { return is_gone_ ? -1 : socket_.get(); }
  /// The next order; kNothing if there is none. Returns kStop once the keeper is gone.
  Order next();
  /// Lets the keeper end without this process. The unit's notifications are the next server's from
  /// here on.
  void let_go();

 private:
  Fd socket_;  // stays open: the notifier has its number
  bool is_gone_ = false;
};

/// Forks, and like fork(2) returns twice: the line in the child, which is the server; the exit code
/// in the parent, the keeper, once the child has ended or released it. Call it before any thread is
/// made and any signal is blocked. `sockets` go to the server.
std::variant<KeeperLine, int> keep(InheritedSockets& sockets);

}  // namespace mc::lifecycle
