// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/handover.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/owner.hpp"
#include "base/quote.hpp"
#include "lifecycle/handover_wire.hpp"
#include "lifecycle/limits.hpp"
#include "lifecycle/self_report.hpp"

namespace mc::lifecycle {

Result<std::unique_ptr<Handover>> Handover::open(const std::string& database_path,
                                                 Incumbent& incumbent, Log& log,
                                                 const Patience& patience) {
  std::unique_ptr<Handover> handover(
      new Handover(handover_path(database_path), incumbent, log, patience));
  if (auto listening = handover->listen(database_path); !listening)
    return std::unexpected(listening.error());
  return handover;
}

Handover::Handover(std::string path, Incumbent& incumbent, Log& log, const Patience& patience)
    : path_(std::move(path)), incumbent_(incumbent), log_(log), patience_(patience) {}

Handover::~Handover() {
  if (listener_) ::unlink(path_.c_str());
}

Result<void> Handover::listen(const std::string& database_path) {
  listener_ = listen_at(path_);
  if (listener_) {
    // A killed server leaves the socket; a server of the database's owner must be able to connect,
    // to see that nobody listens.
    if (const auto owner = owner_beside(database_path)) give_socket(path_, *owner);
    return {};
  }
  return fail(
      fmt::format("the socket for a successor cannot be made at {}: {}; the directory of "
                  "the database must be writable for the server's user",
                  quote(path_), std::strerror(errno)));
}

int Handover::fd() const { return successor_ ? successor_.get() : listener_.get(); }

void Handover::turn() {
  if (!successor_) {
    accept_successor();
    return;
  }
  auto request = receive_message(successor_.get());
  if (!request.has_value()) return;
  heard_ = std::chrono::steady_clock::now();
  carry_out(*request);
}

void Handover::tick() {
  const auto patience = stage_ == Stage::kNone ? patience_.request : patience_.step;
  if (successor_ && std::chrono::steady_clock::now() > heard_ + patience)
    give_up("it sent no request in time");
}

void Handover::accept_successor() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!socket || ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
  successor_ = std::move(socket);
  successor_pid_ = peer.pid;
  successor_uid_ = peer.uid;
  heard_ = std::chrono::steady_clock::now();
}

void Handover::carry_out(Message& message) {
  const std::string& request = message.text;
  // The database's owner can connect to a server of root, but must not get root's sockets.
  const bool may_succeed = successor_uid_ == ::geteuid() || successor_uid_ == 0;
  if (request == word::kAbout) {
    if (!report()) give_up("its report could not be sent");
  } else if (!request.empty() && !may_succeed) {
    refuse(
        fmt::format("it runs as {} and hands over to that user or root", user_text(::geteuid())));
  } else if (request == word::kSockets && stage_ == Stage::kNone) {
    log_.info("a successor requested the listeners", {{"successor", successor_pid_}});
    stage_ = Stage::kSockets;
    if (!send_sockets()) give_up("the sockets could not be sent to it");
  } else if (request == word::kDatabase && stage_ == Stage::kSockets) {
    stage_ = Stage::kDatabase;
    incumbent_.release_database();
    if (!send_message(successor_.get(), word::kDone)) give_up("it closed the connection");
  } else if (request == word::kAccepting && stage_ == Stage::kDatabase) {
    stage_ = Stage::kAccepting;
    incumbent_.stop_accepting();
    if (!send_message(successor_.get(), word::kDone)) give_up("it closed the connection");
  } else if (request == word::kStepDown && stage_ == Stage::kAccepting) {
    finish(message.descriptors.empty() ? Fd() : std::move(message.descriptors.front()));
  } else if (request.empty()) {
    give_up("it closed the connection");
  } else {
    refuse("its protocol is of another version");
  }
}

void Handover::refuse(const std::string& why) {
  static_cast<void>(send_message(successor_.get(), why));
  give_up("its request was refused: " + why);
}

bool Handover::send_sockets() {
  const std::vector<int> all = incumbent_.listening_sockets();
  for (std::size_t sent = 0; sent < all.size(); sent += kDescriptorsPerMessage) {
    const std::size_t end = std::min(all.size(), sent + kDescriptorsPerMessage);
    const std::vector<int> some(all.begin() + static_cast<std::ptrdiff_t>(sent),
                                all.begin() + static_cast<std::ptrdiff_t>(end));
    if (!send_message(successor_.get(), word::kMore, some)) return false;
  }
  return send_message(successor_.get(), word::kDone);
}

bool Handover::report() {
  const SelfReport report{.confinement = incumbent_.confinement(),
                          .listening = listening_addresses(incumbent_.listening_sockets())};
  for (const std::string& message : to_messages(report)) {
    if (!send_message(successor_.get(), message)) return false;
  }
  return send_message(successor_.get(), word::kDone);
}

void Handover::give_up(const std::string& why) {
  successor_.reset();
  const Stage reached = std::exchange(stage_, Stage::kNone);
  if (reached == Stage::kNone) return;  // it made no step
  if (reached >= Stage::kAccepting) incumbent_.accept_again();
  if (reached >= Stage::kDatabase) incumbent_.take_database_back();
  log_.warn("the successor did not take over; this server continues",
            {{"successor", successor_pid_}, {"why", why}});
  incumbent_.take_over_failed(fmt::format("pid {}: {}", successor_pid_, why));
}

void Handover::finish(Fd place) {
  if (!send_message(successor_.get(), word::kDone)) {
    give_up("it closed the connection");
    return;
  }
  stage_ = Stage::kDown;
  successor_.reset();
  listener_.reset();  // the path is the successor's
  incumbent_.succeeded_by(successor_pid_, std::move(place));
}

}  // namespace mc::lifecycle
