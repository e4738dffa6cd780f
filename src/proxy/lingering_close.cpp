// SPDX-License-Identifier: Apache-2.0
#include "proxy/lingering_close.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "proxy/limits.hpp"
#include "ring/operations.hpp"

namespace mc::proxy {

ring::Task<Reason> close_lingering(SessionParts parts, std::span<const std::uint8_t> bytes,
                                   Reason reason) {
  auto& [context, facts, interruption, client] = parts;
  const int fd = client.get();
  // The buffer of a new socket takes so few bytes at once; if not, nobody reads them.
  static_cast<void>(::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  static_cast<void>(::shutdown(fd, SHUT_WR));
  Deadline deadline(context.loop, interruption, kLingerMax, Reason::kClientClosed);
  std::array<std::uint8_t, 512> dropped;
  for (std::size_t left = kLingerBytesMax; left > 0;) {
    ring::Receive receive(context.loop, fd, dropped);
    const int received = co_await interruption.reaches(receive);
    if (received <= 0) break;
    left -= std::min(left, static_cast<std::size_t>(received));
  }
  deadline.met(context.loop);
  client.reset();
  co_return reason;
}

}  // namespace mc::proxy
