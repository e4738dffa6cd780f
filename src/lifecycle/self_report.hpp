// SPDX-License-Identifier: Apache-2.0
#pragma once
// A running server's report of itself, over the socket for its successor: how it is confined, and
// where it listens. For `mc-proxy check`, which requests it from every server, also one without an
// admin API. Pure functions; any thread.

#include <optional>
#include <string>
#include <vector>

#include "lifecycle/confinement.hpp"

namespace mc::lifecycle {

struct SelfReport {
  Confinement confinement;
  std::vector<std::string> listening;  // "192.0.2.1:443" or "[::]:443"; TCP alone
};

/// As messages, each "key value", at most kAboutMessagesMax of them.
std::vector<std::string> to_messages(const SelfReport& report);

/// Adds one to the report; skips keys of a later version.
void add_message(SelfReport& report, const std::string& message);

/// Where these sockets listen, each address once; other than TCP is left out.
std::vector<std::string> listening_addresses(const std::vector<int>& sockets);

}  // namespace mc::lifecycle
