// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/inherited_sockets.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "net/unix_socket.hpp"

namespace mc::lifecycle {
namespace {

union AnyAddress {
  sockaddr any;
  sockaddr_storage storage;
  sockaddr_un local;
};

AnyAddress address_of(int fd) {
  AnyAddress address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, &address.any, &size) != 0) address.any.sa_family = AF_UNSPEC;
  return address;
}

bool listens(int fd) {
  int answer = 0;
  socklen_t size = sizeof answer;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size) == 0 && answer != 0;
}

}  // namespace

InheritedSockets InheritedSockets::from_systemd() {
  InheritedSockets inherited;
  constexpr int kUnsetEnvironment = 1;
  const int count = ::sd_listen_fds(kUnsetEnvironment);
  std::vector<Fd> sockets;
  for (int i = 0; i < count; ++i) {
    const int fd = SD_LISTEN_FDS_START + i;
    static_cast<void>(::fcntl(fd, F_SETFD, FD_CLOEXEC));
    sockets.emplace_back(fd);
  }
  inherited.add(std::move(sockets));
  return inherited;
}

void InheritedSockets::add(std::vector<Fd> sockets) {
  for (Fd& fd : sockets) {
    const bool known = std::ranges::any_of(sockets_, [&fd](const Fd& other) {
      return net::socket_cookie(other.get()) == net::socket_cookie(fd.get());
    });
    if (known || !listens(fd.get())) continue;
    const int flags = ::fcntl(fd.get(), F_GETFL);
    if (flags >= 0) static_cast<void>(::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK));
    sockets_.push_back(std::move(fd));
  }
}

std::vector<Fd> InheritedSockets::take(const SocketAddress& address) {
  std::vector<Fd> taken;
  for (Fd& fd : sockets_) {
    const AnyAddress own = address_of(fd.get());
    if (SocketAddress::from(&own.any) == address) taken.push_back(std::move(fd));
  }
  std::erase_if(sockets_, [](const Fd& fd) { return !fd; });
  return taken;
}

Fd InheritedSockets::take_unix(const std::string& path) {
  const auto found = std::ranges::find_if(sockets_, [&path](const Fd& fd) {
    const AnyAddress address = address_of(fd.get());
    return address.any.sa_family == AF_UNIX && address.local.sun_path == path;
  });
  if (found == sockets_.end()) return {};
  Fd fd = std::move(*found);
  sockets_.erase(found);
  return fd;
}

std::vector<SocketAddress> InheritedSockets::tcp_addresses() const {
  std::vector<SocketAddress> addresses;
  for (const Fd& fd : sockets_) {
    const AnyAddress own = address_of(fd.get());
    const SocketAddress address = SocketAddress::from(&own.any);
    if (address.family() == AF_UNSPEC || std::ranges::find(addresses, address) != addresses.end())
      continue;
    addresses.push_back(address);
  }
  return addresses;
}

}  // namespace mc::lifecycle
