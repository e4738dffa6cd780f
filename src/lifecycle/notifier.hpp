// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the service manager is told (sd_notify(3)), through the keeper if there is one: the manager
// then listens to its main process alone, and a server that the keeper has left is not heard any
// more. Says nothing where nobody listens. Any thread; one at a time.

#include <string>
#include <string_view>
#include <vector>

#include "net/socket_address.hpp"

namespace mc::lifecycle {

/// A listening socket for the descriptor store; borrowed.
struct StoredSocket {
  int fd = -1;
  SocketAddress address;
};

/// Tells the service manager, if there is one, as this process.
void notify_manager(const std::string& text, const std::vector<int>& descriptors);

class Notifier {
 public:
  /// `keeper`: the line to it, which outlives this; -1: there is none.
  explicit Notifier(int keeper) : keeper_(keeper) {}

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
  void tell(const std::string& text, const std::vector<int>& descriptors = {});

  const int keeper_;
  bool muted_ = false;
  std::string status_;
};

}  // namespace mc::lifecycle
