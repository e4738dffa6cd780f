// SPDX-License-Identifier: Apache-2.0
#pragma once
// The messages of a hand-over between two processes of one user: a word each, with descriptors
// (SCM_RIGHTS, unix(7)), over a SOCK_SEQPACKET socket beside the database. handover.hpp describes
// the steps.

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace mc::lifecycle {

/// The successor's requests, in this order, and the replies. `about` changes nothing, and every
/// process that may connect may send it (self_report.hpp); a server without it refuses.
namespace word {
inline constexpr std::string_view kSockets = "mc-proxy handover 1: sockets";
inline constexpr std::string_view kAbout = "mc-proxy handover 1: about";
inline constexpr std::string_view kDatabase = "database";
inline constexpr std::string_view kAccepting = "accepting";
inline constexpr std::string_view kStepDown = "step down";
inline constexpr std::string_view kMore = "more";  // more descriptors follow
inline constexpr std::string_view kDone = "done";
}  // namespace word

struct Message {
  std::string text;  // empty: the other side has closed
  std::vector<Fd> descriptors;
};

/// The path of a file beside the database: its canonical path and the suffix.
std::string beside_database(const std::string& database_path, std::string_view suffix);

/// Where the server of this database is reached.
std::string handover_path(const std::string& database_path);

/// Sends a message; false if the other side has closed or does not take it. Never raises a signal.
bool send_message(int socket, std::string_view text, const std::vector<int>& descriptors = {});

/// Receives one; waits up to the socket's SO_RCVTIMEO. Nothing if none came in that time.
std::optional<Message> receive_message(int socket);

/// Connects; nothing, with errno, if nobody listens. `type` as for socket(2).
Fd connect_at(const std::string& path, int type = SOCK_SEQPACKET);
/// Listens with mode 0600; replaces any socket at the path. Nothing, with errno, on failure.
Fd listen_at(const std::string& path, int type = SOCK_SEQPACKET);

}  // namespace mc::lifecycle
