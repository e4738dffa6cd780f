// SPDX-License-Identifier: Apache-2.0
#include "net/sockets.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include "base/clock.hpp"
#include "base/descriptor_limit.hpp"
#include "net/limits.hpp"

namespace mc::net {

namespace {

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// TCP_NODELAY: bytes are passed on as they come; the ends decide how to batch them. SO_OOBINLINE:
// an urgent byte is a byte of the stream here.
bool set_stream_options(int fd) {
  return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) && set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

enum class Sharing { kAlone, kWithSiblings };

// The socket, bound; or nothing, with errno.
Fd open_bound(const ListenAddress& where, Sharing sharing) {
  const SocketAddress& address = where.address;
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return {};
  bool ready = set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1) && set_stream_options(fd.get());
  if (sharing == Sharing::kWithSiblings)
    ready = ready && set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  // Only the unspecified IPv6 address is dual-stack: an operator who writes a specific address
  // means that one.
  const bool any_address = address.ip() == IpAddress();
  if (address.family() == AF_INET6) {
    ready = ready && set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, any_address ? 0 : 1);
  }
  if (where.freebind) {
    const bool is_v6 = address.family() == AF_INET6;
    ready = ready && set_option(fd.get(), is_v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                                is_v6 ? IPV6_FREEBIND : IP_FREEBIND, 1);
  }
  if (ready && ::bind(fd.get(), address.data(), address.size()) == 0) return fd;
  const int code = errno;
  fd.reset();
  errno = code;
  return {};
}

// Whether the address can be bound alone; errno says why not.
bool probe_free(const ListenAddress& where) {
  const Instant give_up = Clock::now() + kBindRetry;
  for (;;) {
    if (open_bound(where, Sharing::kAlone)) return true;
    if (errno != EADDRINUSE || Clock::now() >= give_up) return false;
    std::this_thread::sleep_for(kBindRetryPause);
  }
}

// "0100007F:01BB": the bytes of the address in the kernel's order, as words of the machine's.
std::string as_listed(const SocketAddress& address) {
  std::array<std::uint32_t, 4> words{};
  const std::size_t count = address.family() == AF_INET6 ? 4 : 1;
  if (count == 4) {
    std::memcpy(words.data(), &reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_addr,
                16);
  } else {
    words[0] = reinterpret_cast<const sockaddr_in*>(address.data())->sin_addr.s_addr;
  }
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += fmt::format("{:08X}", words[i]);
  return fmt::format("{}:{:04X}", text, address.port());
}

// Whether any socket listens at exactly this address: lines are "sl local remote state ...", and 0A
// is TCP_LISTEN.
bool is_listed(const SocketAddress& address) {
  const std::string wanted = as_listed(address);
  std::ifstream table(address.family() == AF_INET6 ? "/proc/self/net/tcp6" : "/proc/self/net/tcp");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string number, local, remote, state;
    if (words >> number >> local >> remote >> state && state == "0A" && local == wanted)
      return true;
  }
  return false;
}

bool takes_ipv6_alone(int fd) {
  int answer = 0;
  socklen_t size = sizeof answer;
  return ::getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &answer, &size) == 0 && answer != 0;
}

std::unexpected<Error> cannot_listen(const ListenAddress& where, int code) {
  const auto& [address, name, freebind] = where;
  std::string remedy;
  switch (code) {
    case EADDRINUSE:
      return fail(fmt::format(
          "listen {}: address already in use. Another process holds the port; see which "
          "with: ss -tlnp | grep ':{}'",
          name, address.port()));
    case EADDRNOTAVAIL:
      remedy =
          "No interface of this machine has that address; see: ip address. A listener whose "
          "address comes later needs freebind = true";
      break;
    case EACCES:
      remedy =
          "Ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE (systemd: "
          "AmbientCapabilities=CAP_NET_BIND_SERVICE; container: --sysctl "
          "net.ipv4.ip_unprivileged_port_start=0)";
      break;
    case EAFNOSUPPORT:
      remedy = "IPv6 is switched off on this machine; write an IPv4 address such as 0.0.0.0:443";
      break;
    case EINVAL:
      remedy = "A link-local address takes the interface too, such as [fe80::1%eth0]:443";
      break;
    case EMFILE:
    case ENFILE:
      remedy = kRaiseDescriptorLimit;
      break;
    default:
      break;
  }
  return fail(fmt::format("listen {}: {}. {}", name, std::strerror(code), remedy));
}

}  // namespace

Result<void> require_free(const ListenAddress& where) {
  if (where.address.port() == 0 || probe_free(where)) return {};
  return cannot_listen(where, errno);
}

Result<void> require_unlisted(const ListenAddress& where) {
  if (!is_listed(where.address)) return {};
  return cannot_listen(where, EADDRINUSE);
}

Result<std::vector<Fd>> open_shared(const ListenAddress& where, std::size_t count) {
  std::vector<Fd> listeners;
  ListenAddress bound = where;
  for (std::size_t i = 0; i < count; ++i) {
    Fd fd = open_bound(bound, Sharing::kWithSiblings);
    if (!fd || ::listen(fd.get(), kBacklog) != 0) return cannot_listen(where, errno);
    // Port 0: the siblings take the port that the first one got.
    bound.address = bound_address(fd.get());
    listeners.push_back(std::move(fd));
  }
  return listeners;
}

Result<std::vector<Fd>> open_listeners(const ListenAddress& where, std::size_t count) {
  if (auto free = require_free(where); !free.has_value()) return std::unexpected(free.error());
  return open_shared(where, count);
}

Result<std::vector<Fd>> adopt_listeners(std::vector<Fd> inherited, const ListenAddress& where,
                                        std::size_t count) {
  const std::size_t adopted = inherited.size();
  for (const Fd& fd : inherited) {
    if (where.address.ip() == IpAddress() && takes_ipv6_alone(fd.get())) {
      return fail(
          fmt::format("listen {}: the socket that systemd holds accepts only IPv6; write "
                      "BindIPv6Only=both to [Socket] of its unit (systemctl edit mc-proxy.socket)",
                      where.name));
    }
    const int flags = ::fcntl(fd.get(), F_GETFL);
    if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
        !set_stream_options(fd.get()) || ::listen(fd.get(), kBacklog) != 0) {
      return cannot_listen(where, errno);
    }
  }
  while (inherited.size() < count) {
    Fd fd = open_bound(where, Sharing::kWithSiblings);
    if (!fd || ::listen(fd.get(), kBacklog) != 0) {  // bound by another user, or to be alone
      fd = Fd(::fcntl(inherited[inherited.size() % adopted].get(), F_DUPFD_CLOEXEC, 0));
    }
    if (!fd) return cannot_listen(where, errno);
    inherited.push_back(std::move(fd));
  }
  return inherited;
}

Result<Fd> open_alone(const ListenAddress& where, int backlog) {
  Fd fd = open_bound(where, Sharing::kAlone);
  if (!fd || ::listen(fd.get(), backlog) != 0) return cannot_listen(where, errno);
  return fd;
}

Fd open_backend_socket(const ConnectAddress& address) {
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd && !address.is_unix() && !set_stream_options(fd.get())) fd.reset();
  return fd;
}

SocketAddress bound_address(int fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::kCapacity;
  return ::getsockname(fd, address.data(), &size) == 0 ? address : SocketAddress();
}

// For an address of its own the kernel takes the same one as the local one, except that for all of
// 127.0.0.0/8 it takes 127.0.0.1. To connect a datagram socket sends nothing.
bool leads_here(const SocketAddress& address) {
  if (address.ip().is_loopback()) return true;
  const Fd fd(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return fd && ::connect(fd.get(), address.data(), address.size()) == 0 &&
         bound_address(fd.get()).ip() == address.ip();
}

void set_receive_low_water(int fd, std::size_t bytes) {
  // The kernel makes the receive buffer just large enough for the mark. It then keeps the window
  // shut before the last segment, because it opens it by whole segments only. A higher mark first
  // makes room for one more (on loopback 64 KiB).
  if (bytes > kLowWaterWithoutRoom) {
    static_cast<void>(
        set_option(fd, SOL_SOCKET, SO_RCVLOWAT, static_cast<int>(bytes + kSegmentMax)));
  }
  // A failure leaves the mark as it was: the session then reads the hello more often than needed.
  static_cast<void>(set_option(fd, SOL_SOCKET, SO_RCVLOWAT, static_cast<int>(bytes)));
}

namespace {

// recv(2) where an urgent byte may be next. There Linux returns EAGAIN while a signal is pending (a
// process that is stopped and continued; tcp_recvmsg_locked()), although the byte has come. None is
// pending any more when the call has returned, so the second attempt says what is.
ssize_t receive_at_mark(int fd, std::span<std::uint8_t> buffer, int flags) {
  const ssize_t received = ::recv(fd, buffer.data(), buffer.size(), flags | MSG_DONTWAIT);
  if (received >= 0 || errno != EAGAIN) return received;
  return ::recv(fd, buffer.data(), buffer.size(), flags | MSG_DONTWAIT);
}

}  // namespace

ssize_t peek_queued(int fd, std::span<std::uint8_t> buffer) {
  return receive_at_mark(fd, buffer, MSG_PEEK);
}

// MSG_TRUNC: TCP drops the bytes without copying them (tcp(7)); a Unix socket copies them.
bool drop_queued(int fd, std::size_t bytes, std::span<std::uint8_t> scratch) {
  while (bytes > 0) {  // a receive stops at the urgent mark, so it may take two
    const ssize_t dropped = receive_at_mark(fd, scratch.first(bytes), MSG_TRUNC);
    if (dropped <= 0) return false;
    bytes -= static_cast<std::size_t>(dropped);
  }
  return true;
}

bool bind_source(int fd, const IpAddress& source) {
  const SocketAddress address(source, 0);
  return set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) &&
         ::bind(fd, address.data(), address.size()) == 0;
}

void keep_alive(int fd) { static_cast<void>(set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1)); }

std::uint32_t send_queue_bytes(int fd) {
  int bytes = 0;
  return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 ? static_cast<std::uint32_t>(bytes) : 0;
}

void reset_on_close(int fd) {
  const linger abort{.l_onoff = 1, .l_linger = 0};
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort));
}

}  // namespace mc::net
