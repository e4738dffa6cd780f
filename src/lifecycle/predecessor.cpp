// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/predecessor.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/duration.hpp"
#include "base/owner.hpp"
#include "base/quote.hpp"
#include "lifecycle/draining_place.hpp"
#include "lifecycle/handover_wire.hpp"
#include "lifecycle/limits.hpp"
#include "net/unix_socket.hpp"

namespace mc::lifecycle {

namespace {

// Only a process that may connect can check whether a server listens there.
std::string explain_denied(const std::string& path) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    return fmt::format(
        "{}: uid {} has no access to this directory; give that user the directory (chown), or run "
        "this as root",
        quote(path), ::geteuid());
  }
  return fmt::format(
      "the running server cannot be reached at {}: the socket belongs to {}; if a server of that "
      "user runs (pidof mc-proxy), stop it, or run this as that user or root; if none does, a "
      "server that was killed has left the socket: remove it (rm {})",
      quote(path), user_text(found.st_uid), path);
}

bool limit_wait(int socket, std::chrono::milliseconds most) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(most);
  const timeval limit{.tv_sec = seconds.count(),
                      .tv_usec = std::chrono::microseconds(most - seconds).count()};
  return ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0;
}

}  // namespace

Result<std::unique_ptr<Predecessor>> Predecessor::find(const std::string& database_path,
                                                       const Patience& patience) {
  const std::string path = handover_path(database_path);
  Fd socket = connect_at(path);
  if (!socket) {
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) return nullptr;
    if (errno == EACCES) return fail(explain_denied(path));
    return fail(fmt::format("the running server cannot be reached at {}: {}", quote(path),
                            std::strerror(errno)));
  }
  const auto peer = net::peer_of(socket.get());
  if (!peer.has_value() || !limit_wait(socket.get(), patience.step)) {
    return fail(fmt::format("{}: {}", quote(path), std::strerror(errno)));
  }
  return std::unique_ptr<Predecessor>(
      new Predecessor(database_path, std::move(socket), peer->pid, patience));
}

std::unexpected<Error> Predecessor::gone(std::string_view what) const {
  return fail(fmt::format("the running server (pid {}) did not hand over: {}", pid_, what));
}

Result<void> Predecessor::request(std::string_view what, std::vector<Fd>& descriptors,
                                  const std::vector<int>& passed) {
  if (!send_message(socket_.get(), what, passed)) return gone("it closed the connection");
  for (;;) {
    auto answer = receive_message(socket_.get());
    if (!answer.has_value()) {
      return gone(fmt::format("no reply within {}", format_duration(patience_.step)));
    }
    if (answer->text.empty()) return gone("it closed the connection");
    descriptors.insert(descriptors.end(), std::make_move_iterator(answer->descriptors.begin()),
                       std::make_move_iterator(answer->descriptors.end()));
    if (answer->text == word::kDone) return {};
    if (answer->text != word::kMore) return gone(printable(answer->text));
  }
}

Result<SelfReport> Predecessor::self_report() {
  static_cast<void>(limit_wait(socket_.get(), patience_.about));
  SelfReport report;
  if (!send_message(socket_.get(), word::kAbout)) return fail("it closed the connection");
  for (std::size_t i = 0; i <= kAboutMessagesMax; ++i) {
    const auto answer = receive_message(socket_.get());
    if (!answer.has_value())
      return fail(fmt::format("no reply within {}", format_duration(patience_.about)));
    if (answer->text == word::kDone) return report;
    if (answer->text.empty()) return fail("it is another version");
    add_message(report, answer->text);
  }
  return fail("its report is too long");
}

Result<std::vector<Fd>> Predecessor::sockets() {
  std::vector<Fd> sockets;
  if (auto requested = request(word::kSockets, sockets); !requested)
    return std::unexpected(requested.error());
  return sockets;
}

Result<void> Predecessor::release_database() {
  std::vector<Fd> none;
  return request(word::kDatabase, none);
}

Result<void> Predecessor::stop_accepting() {
  std::vector<Fd> none;
  return request(word::kAccepting, none);
}

// Without the socket it steps down too, and only its log shows its connections.
Result<void> Predecessor::step_down() {
  std::vector<Fd> none;
  const Fd place = open_draining_place(database_path_, pid_);
  auto down =
      request(word::kStepDown, none, place ? std::vector<int>{place.get()} : std::vector<int>{});
  if (!down.has_value() && place) ::unlink(draining_path(database_path_, pid_).c_str());
  return down;
}

}  // namespace mc::lifecycle
