// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/notifier.hpp"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include <algorithm>
#include <cstdint>

#include "lifecycle/handover_wire.hpp"
#include "lifecycle/limits.hpp"

namespace mc::lifecycle {
namespace {

// A name in the descriptor store has no colons (FDNAME=, sd_notify(3)).
std::string name_in_store(const SocketAddress& address) {
  std::string name = address.to_string();
  std::ranges::replace(name, ':', '_');
  return name;
}

std::uint64_t monotonic_microseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec) / 1'000;
}

}  // namespace

void notify_manager(const std::string& text, const std::vector<int>& descriptors) {
  static_cast<void>(::sd_pid_notify_with_fds(0, 0, text.c_str(), descriptors.data(),
                                             static_cast<unsigned>(descriptors.size())));
}

void Notifier::send(const std::string& text, const std::vector<int>& descriptors) {
  if (muted_) return;
  if (keeper_ >= 0) {
    static_cast<void>(send_message(keeper_, text, descriptors));
  } else {
    notify_manager(text, descriptors);
  }
}

void Notifier::ready() { send("READY=1"); }

void Notifier::reloading() {
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()));
}

void Notifier::stopping() { send("STOPPING=1"); }

void Notifier::status(const std::string& text) {
  if (text == status_) return;
  status_ = text;
  send("STATUS=" + text);
}

void Notifier::watchdog() { send("WATCHDOG=1"); }

void Notifier::store(const std::vector<StoredSocket>& sockets) {
  for (auto next = sockets.begin(); next != sockets.end();) {
    std::vector<int> fds;
    const SocketAddress& address = next->address;
    while (next != sockets.end() && next->address == address &&
           fds.size() < kDescriptorsPerMessage) {
      fds.push_back((next++)->fd);
    }
    const std::string text = fmt::format("FDSTORE=1\nFDNAME={}", name_in_store(address));
    send(text, fds);
  }
}

void Notifier::forget(const SocketAddress& address) {
  send("FDSTOREREMOVE=1\nFDNAME=" + name_in_store(address));
}

}  // namespace mc::lifecycle
