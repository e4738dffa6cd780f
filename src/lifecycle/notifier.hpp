// SPDX-License-Identifier: Apache-2.0
#pragma once
// Notifications to the service manager (sd_notify(3)), through the keeper if there is one: the
// manager then listens to its main process alone, and ignores a server without its keeper. Does
// nothing without a manager. Any thread; one at a time.

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

/// Notifies the service manager, if there is one, as this process.
void notify_manager(const std::string& text, const std::vector<int>& descriptors);

class Notifier {
 public:
  /// `keeper`: the line to it, which outlives this; -1: there is none.
  explicit Notifier(int keeper) : keeper_(keeper) {}

  void ready();
  /// The reloadable part of the configuration is read again; ready() reports the end.
  void reloading();
  void stopping();
  /// One line for `systemctl status`; sent only when it differs from the last one.
  void status(const std::string& text);
  /// All is well; call it at the latest after half of WatchdogSec=.
  void watchdog();

  /// Gives copies to the descriptor store (FDSTORE=1): they live on if this process dies. Needs
  /// FileDescriptorStoreMax= in the unit; the manager keeps those that it has.
  void store(const std::vector<StoredSocket>& sockets);
  /// Removes the sockets of an address from the store.
  void forget(const SocketAddress& address);

  /// Sends nothing from now on: the unit is another process's.
  void mute() { muted_ = true; }

 private:
  void send(const std::string& text, const std::vector<int>& descriptors = {});

  const int keeper_;
  bool muted_ = false;
  std::string status_;
};

}  // namespace mc::lifecycle
