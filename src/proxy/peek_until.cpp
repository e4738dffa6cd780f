// SPDX-License-Identifier: Apache-2.0
#include "proxy/peek_until.hpp"

#include <poll.h>

namespace mc::proxy {

Reason why_stalled(int client) {
  pollfd state{.fd = client, .events = POLLRDHUP, .revents = 0};
  static_cast<void>(::poll(&state, 1, 0));
  if ((state.revents & POLLERR) != 0) return Reason::kClientReset;
  if ((state.revents & (POLLRDHUP | POLLHUP)) != 0) return Reason::kClientClosed;
  return Reason::kNone;
}

}  // namespace mc::proxy
