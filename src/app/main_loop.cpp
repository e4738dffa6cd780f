// SPDX-License-Identifier: Apache-2.0
#include "app/main_loop.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <thread>
#include <utility>

#include "lifecycle/limits.hpp"

namespace mc::app {
namespace {

// How often the certificate files are looked at, the health service is told, the database's log is
// moved, and the watchdog is fed.
constexpr std::chrono::milliseconds kTick{1000};

// A successor that died holds the database's lock until the kernel has buried it.
constexpr std::chrono::milliseconds kLockMax{2000};
constexpr std::chrono::milliseconds kLockRetry{10};

}  // namespace

Result<void> MainLoop::await_successors() {
  auto opened = lifecycle::Handover::open(parts_.config.database.path, *this, parts_.log);
  if (!opened.has_value()) return std::unexpected(opened.error());
  handover_ = *std::move(opened);
  return {};
}

void MainLoop::run(int signal_fd) {
  while (!ended_) {
    wait(signal_fd);
    if (Clock::now() >= reload_at_) reload();
    const bool is_under_way = handover_ != nullptr && handover_->is_under_way();
    if (!stop_wanted_.empty() && !is_under_way && stage_ != Stage::kStopping) {
      begin_to_stop(std::string(stop_wanted_));
    }
    if (Clock::now() >= next_tick_) tick();
  }
  handover_.reset();
  report_totals();
}

void MainLoop::wait(int signal_fd) {
  pollfd watched[] = {{.fd = parts_.plane.ended_fd(), .events = POLLIN, .revents = 0},
                      {.fd = signal_fd, .events = POLLIN, .revents = 0},
                      {.fd = parts_.keeper.fd(), .events = POLLIN, .revents = 0},
                      {.fd = handover_ ? handover_->fd() : -1, .events = POLLIN, .revents = 0}};
  const auto rest =
      std::chrono::ceil<std::chrono::milliseconds>(std::min(next_tick_, reload_at_) - Clock::now());
  const auto timeout = std::clamp(rest, std::chrono::milliseconds(0), kTick);
  if (::poll(watched, std::size(watched), static_cast<int>(timeout.count())) <= 0) return;
  if (watched[0].revents != 0) ended_ = true;
  if (watched[1].revents != 0) take_signal(signal_fd);
  if (watched[2].revents != 0) take_order();
  if (watched[3].revents != 0 && handover_) handover_->turn();
}

// ---- what is asked of it

void MainLoop::take_signal(int signal_fd) {
  signalfd_siginfo info{};
  if (::read(signal_fd, &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo == SIGHUP) {
    reload_at_ = std::min(reload_at_, Clock::now() + lifecycle::kSignalSettle);
  } else if (std::exchange(keeper_stopped_at_, Clock::time_point::min()) + lifecycle::kTwinMax <
             Clock::now()) {
    stop(info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
  }
}

void MainLoop::take_order() {
  switch (parts_.keeper.next()) {
    case lifecycle::Order::kNothing:
      break;
    case lifecycle::Order::kReload:
      reload_at_ = std::min(reload_at_, Clock::now() + lifecycle::kSignalSettle);
      break;
    case lifecycle::Order::kLeave:
      be_left();
      break;
    case lifecycle::Order::kStop:
      if (stage_ == Stage::kStopping) break;
      keeper_stopped_at_ = Clock::now();
      stop("keeper");
      break;
    case lifecycle::Order::kCut:
      stop("keeper");
      break;
  }
}

// The restart of a unit: systemd starts the successor when the keeper has ended.
void MainLoop::be_left() {
  // Else the keeper waits in vain, and says kStop then. A server that nobody finds has no
  // successor.
  if (stage_ != Stage::kServing || handover_ == nullptr) return;
  stage_ = Stage::kLeft;
  alone_since_ = Clock::now();
  parts_.notifier.mute();
  parts_.log.info("restart: serving until the successor takes over");
  parts_.keeper.let_go();
}

void MainLoop::reload() {
  reload_at_ = Clock::time_point::max();
  parts_.log.info("received SIGHUP, reloading GeoIP database");
  parts_.notifier.reloading();
  static_cast<void>(parts_.control.reload_geoip("SIGHUP"));  // says itself what came of it
  parts_.notifier.ready();
}

void MainLoop::stop(std::string_view why) {
  if (stage_ == Stage::kStopping) {
    parts_.log.warn("second signal: cutting open connections", {{"signal", why}});
    parts_.plane.drain(std::chrono::milliseconds(0));
  } else if (handover_ != nullptr && handover_->is_under_way()) {
    stop_wanted_ = why;  // or nobody would serve: the successor counts on this one
  } else {
    begin_to_stop(why);
  }
}

void MainLoop::begin_to_stop(std::string_view why) {
  const bool alone = std::exchange(stage_, Stage::kStopping) == Stage::kLeft;
  stop_wanted_.clear();
  handover_.reset();
  parts_.log.info("stopping: no new connections, open ones have shutdown_timeout to end",
                  {{"signal", why},
                   {"active", parts_.plane.totals().active},
                   {"shutdown_timeout", parts_.config.proxy.shutdown_timeout}});
  // The manager's copies would let newcomers wait in queues that nobody serves.
  for (const config::Listener& listener : parts_.config.listeners) {
    parts_.notifier.forget(listener.addr);
  }
  parts_.notifier.stopping();
  drain();
  if (!alone) return;
  // The next start must not have to wait for the last connection of this server.
  leave_api();
  parts_.control.release_database();
}

void MainLoop::drain() {
  parts_.plane.drain(parts_.config.proxy.shutdown_timeout);
  parts_.control.stop();
}

void MainLoop::leave_api() {
  parts_.metrics.reset();
  parts_.api.reset();
}

void MainLoop::tick() {
  next_tick_ = Clock::now() + kTick;
  parts_.control.tidy();
  if (parts_.api != nullptr) parts_.api->tick();
  if (handover_ != nullptr) handover_->tick();
  if (parts_.plane.turning()) parts_.notifier.watchdog();
  parts_.notifier.status(status());
  if (database_is_out_ && !(handover_ && handover_->is_under_way())) try_to_take_database_back();
  const bool is_waiting = handover_ == nullptr || !handover_->is_under_way();
  if (stage_ == Stage::kLeft && is_waiting &&
      Clock::now() > alone_since_ + lifecycle::kSuccessorMax) {
    parts_.log.error("no successor came after the restart",
                     {{"waited", std::chrono::milliseconds(lifecycle::kSuccessorMax)}});
    stop("no successor");
  }
}

std::string MainLoop::status() const {
  const std::uint64_t active = parts_.plane.totals().active;
  if (stage_ == Stage::kStopping) return fmt::format("stopping, {} connections open", active);
  return fmt::format("serving {} listeners, {} connections open", parts_.config.listeners.size(),
                     active);
}

void MainLoop::report_totals() {
  const proxy::Totals totals = parts_.plane.totals();
  std::string ended;
  for (std::size_t i = 0; i < proxy::kReasons; ++i) {
    if (totals.ended[i] == 0) continue;
    ended += fmt::format("{}{}={}", ended.empty() ? "" : " ",
                         to_string(static_cast<proxy::Reason>(i)), totals.ended[i]);
  }
  parts_.log.info("stopped", {{"accepted", totals.accepted},
                              {"bytes_up", totals.bytes_up},
                              {"bytes_down", totals.bytes_down},
                              {"ended", ended}});
}

// ---- the hand-over; lifecycle/handover.hpp tells the order

std::vector<int> MainLoop::listening_sockets() {
  std::vector<int> sockets;
  for (const proxy::ListeningSocket& socket : parts_.plane.sockets()) {
    sockets.push_back(socket.fd.get());
  }
  if (parts_.api != nullptr) std::ranges::copy(parts_.api->sockets(), std::back_inserter(sockets));
  if (parts_.metrics != nullptr) sockets.push_back(parts_.metrics->fd());
  return sockets;
}

void MainLoop::release_database() {
  database_is_out_ = true;
  if (parts_.api != nullptr) {
    parts_.api->suspend();
    parts_.api->leave();
  }
  parts_.control.release_database();
}

// What that does not achieve within kLockMax is tried again once a second.
void MainLoop::take_database_back() {
  const auto give_up = Clock::now() + kLockMax;
  try_to_take_database_back();
  while (database_is_out_ && Clock::now() < give_up) {
    std::this_thread::sleep_for(kLockRetry);
    try_to_take_database_back();
  }
  if (database_is_out_) parts_.log.error("changes are refused until the database is free again");
  if (parts_.api == nullptr) return;
  parts_.api->own();
  parts_.api->resume();
}

void MainLoop::try_to_take_database_back() {
  if (stage_ == Stage::kStopping) return;
  const auto taken = parts_.control.take_database_back();
  database_is_out_ = !taken.has_value();
  if (database_is_out_) parts_.log.debug("database", {{"error", taken.error().message}});
}

void MainLoop::stop_accepting() { parts_.plane.suspend(); }

void MainLoop::accept_again() { parts_.plane.open(); }

void MainLoop::succeeded_by(pid_t successor) {
  const Stage stage = std::exchange(stage_, Stage::kStopping);
  // Taken over without having been left, it is still what the manager looks at.
  stage == Stage::kLeft ? parts_.notifier.mute() : parts_.notifier.stopping();
  parts_.log.info("handed over: open connections have shutdown_timeout to end",
                  {{"successor", successor},
                   {"active", parts_.plane.totals().active},
                   {"shutdown_timeout", parts_.config.proxy.shutdown_timeout}});
  drain();
  leave_api();
}

}  // namespace mc::app
