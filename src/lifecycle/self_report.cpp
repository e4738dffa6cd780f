// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/self_report.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/quote.hpp"
#include "lifecycle/limits.hpp"
#include "net/socket_address.hpp"

namespace mc::lifecycle {
namespace {

constexpr std::string_view kListening = "listening";  // and addresses, each behind a space

constexpr std::pair<std::string_view, std::string Confinement::*> kFields[] = {
    {"capabilities ", &Confinement::capabilities},
    {"landlock ", &Confinement::landlock},
    {"seccomp ", &Confinement::seccomp},
    {"rings ", &Confinement::rings},
};

}  // namespace

std::vector<std::string> to_messages(const SelfReport& report) {
  std::vector<std::string> messages;
  for (const auto& [key, field] : kFields) {
    messages.push_back(std::string(key) + report.confinement.*field);
  }
  std::string line(kListening);
  for (const std::string& address : report.listening) {
    if (line.size() + 1 + address.size() > kMessageBytesMax) {
      messages.push_back(std::exchange(line, std::string(kListening)));
    }
    line += ' ' + address;
  }
  messages.push_back(line);
  if (messages.size() > kAboutMessagesMax) messages.resize(kAboutMessagesMax);
  return messages;
}

void add_message(SelfReport& report, const std::string& message) {
  for (const auto& [key, field] : kFields) {
    if (message.starts_with(key)) report.confinement.*field = printable(message.substr(key.size()));
  }
  if (!message.starts_with(kListening)) return;
  for (std::size_t at = message.find(' '); at != message.npos;) {
    const std::size_t end = message.find(' ', at + 1);
    report.listening.push_back(message.substr(at + 1, end - at - 1));
    at = end;
  }
}

std::vector<std::string> listening_addresses(const std::vector<int>& sockets) {
  std::vector<std::string> addresses;
  for (const int socket : sockets) {
    SocketAddress address;
    socklen_t size = SocketAddress::kCapacity;
    if (::getsockname(socket, address.data(), &size) != 0) continue;
    if (address.family() != AF_INET && address.family() != AF_INET6) continue;
    std::string text = address.to_string();
    if (std::ranges::find(addresses, text) == addresses.end()) addresses.push_back(std::move(text));
  }
  return addresses;
}

}  // namespace mc::lifecycle
