// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the service manager is told (sd_notify(3)). Says nothing where none listens. Any thread; one
// at a time.

#include <string>
#include <string_view>
#include <vector>

#include "base/socket_address.hpp"

namespace mc::lifecycle {

/// A listening socket for the descriptor store; borrowed.
struct StoredSocket {
  int fd = -1;
  SocketAddress address;
};

class Notifier {
 public:
  /// Whether a service manager listens (NOTIFY_SOCKET).
  [[nodiscard]] static bool is_heard();

  void ready();
  /// The configuration's part that can be is read anew; ready() tells the end.
  void reloading();
  void stopping();
  /// One line for `systemctl status`; what was told last is not told again.
  void status(const std::string& text);
  /// All is well; to be told at half of WatchdogSec= at the latest.
  void watchdog();

  /// Gives copies to the descriptor store (FDSTORE=1): they live on if this process dies. Needs
  /// FileDescriptorStoreMax= in the unit; the manager keeps those that it has.
  void store(const std::vector<StoredSocket>& sockets);
  /// Takes the sockets of an address out of it.
  void forget(const SocketAddress& address);

  /// From now on nothing is told: the unit is another process's.
  void mute() { muted_ = true; }

 private:
  void tell(const std::string& text);

  bool muted_ = false;
  std::string status_;
};

}  // namespace mc::lifecycle
