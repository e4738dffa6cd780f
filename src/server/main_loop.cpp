// SPDX-License-Identifier: Apache-2.0
#include "server/main_loop.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <thread>
#include <utility>

#include "base/duration.hpp"
#include "cli/format.hpp"
#include "lifecycle/draining_place.hpp"
#include "lifecycle/limits.hpp"

namespace mc::server {
namespace {

// How often the certificate files are checked, the health service is updated, the database's log is
// moved, and the watchdog is fed.
constexpr std::chrono::milliseconds kTick{1000};

// Answers of DNS that come within this time are one new policy.
constexpr std::chrono::milliseconds kNamesSettle{50};

// A successor that died holds the database's lock until the kernel has ended it.
constexpr std::chrono::milliseconds kLockMax{2000};
constexpr std::chrono::milliseconds kLockRetry{10};

// A stop that has ended its own sessions checks this often whether the draining servers have ended,
// and waits this much longer for them than the time they were given.
constexpr std::chrono::milliseconds kLookForOthers{50};
constexpr std::chrono::milliseconds kOthersGrace{2000};

// Zero in the configuration is no limit.
std::chrono::milliseconds drain_time(const config::Proxy& proxy) {
  return proxy.drain_timeout.count() == 0 ? proxy::DataPlane::kNoLimit : proxy.drain_timeout;
}

}  // namespace

MainLoop::MainLoop(const ServerParts& parts)
    : parts_(parts), ordered_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<void> MainLoop::await_successors() {
  auto opened = lifecycle::Handover::open(parts_.config.database.path, *this, parts_.log);
  if (!opened.has_value()) return std::unexpected(opened.error());
  handover_ = *std::move(opened);
  return {};
}

void MainLoop::run(int signal_fd) {
  parts_.draining.keep_to(admin::kDrainingMax, parts_.config.proxy.shutdown_timeout);
  while (!is_over()) {
    wait(signal_fd);
    if (reload_at_ && Clock::now() >= *reload_at_) reload();
    if (publish_names_at_ && Clock::now() >= *publish_names_at_) publish_names();
    if (stop_after_hand_over_ && hand_over() == HandOver::kNone && !is<Stopping>()) {
      stop(*std::exchange(stop_after_hand_over_, std::nullopt));
    }
    if (Clock::now() >= next_tick_) tick();
  }
  handover_.reset();
  report_totals();
  leave_api();  // it refers to this
}

bool MainLoop::is_over() const {
  if (!sessions_ended_) return false;
  const auto* const stopping = std::get_if<Stopping>(&stage_);
  if (stopping == nullptr || !stopping->others_until) return true;
  return Clock::now() >= *stopping->others_until || parts_.draining.count() == 0;
}

HandOver MainLoop::hand_over() const {
  return handover_ && handover_->is_under_way() ? HandOver::kUnderWay : HandOver::kNone;
}

void MainLoop::wait(int signal_fd) {
  pollfd watched[] = {
      {.fd = sessions_ended_ ? -1 : parts_.plane.ended_fd(), .events = POLLIN, .revents = 0},
      {.fd = signal_fd, .events = POLLIN, .revents = 0},
      {.fd = parts_.keeper.fd(), .events = POLLIN, .revents = 0},
      {.fd = handover_ ? handover_->fd() : -1, .events = POLLIN, .revents = 0},
      {.fd = stop_watch_ ? stop_watch_->fd() : -1, .events = POLLIN, .revents = 0},
      {.fd = ordered_.get(), .events = POLLIN, .revents = 0},
      {.fd = parts_.answers.fd(), .events = POLLIN, .revents = 0}};
  const int timeout = static_cast<int>(time_to_wait().count());
  if (::poll(watched, std::size(watched), timeout) <= 0) return;
  if (watched[0].revents != 0) sessions_ended_ = true;
  if (watched[1].revents != 0) take_signal(signal_fd);
  if (watched[2].revents != 0) take_order();
  if (watched[3].revents != 0 && handover_) handover_->turn();
  if (watched[4].revents != 0) look_for_stop();
  if (watched[5].revents != 0) apply_stop_order();
  if (watched[6].revents != 0) publish_names_soon();
}

std::chrono::milliseconds MainLoop::time_to_wait() const {
  const Instant next = std::min(
      {next_tick_, reload_at_.value_or(next_tick_), publish_names_at_.value_or(next_tick_)});
  const auto most = sessions_ended_ ? kLookForOthers : kTick;
  return std::clamp(next - Clock::now(), std::chrono::milliseconds(0), most);
}

void MainLoop::watch_for_stop() {
  auto watch = lifecycle::StopWatch::open();
  if (watch.has_value()) {
    stop_watch_ = *std::move(watch);
  } else if (stop_watch_ == nullptr) {
    parts_.log.warn("systemctl stop will not reach this server if the restart fails; its pid will",
                    {{"error", watch.error().message}});
  }
}

void MainLoop::look_for_stop() {
  if (stop_watch_ == nullptr) return;
  const bool was_ordered = stop_watch_->stop_was_ordered();
  if (stop_watch_->is_gone()) watch_for_stop();  // the bus was restarted, with a package perhaps
  // The server that serves may have passed the same on already.
  if (was_ordered && !is<Stopping>()) stop("systemctl stop");
}

// ---- answers of DNS

void MainLoop::publish_names_soon() {
  parts_.answers.quiet();
  if (!publish_names_at_) publish_names_at_ = Clock::now() + kNamesSettle;
}

void MainLoop::publish_names() {
  publish_names_at_.reset();
  for (auto& [name, addresses] : parts_.answers.take()) answers_[name] = std::move(addresses);
  if (parts_.control.take_answers(answers_)) {
    answers_.clear();
  } else {
    publish_names_at_ = Clock::now() + kNamesSettle;
  }
}

// ---- signals and commands

void MainLoop::take_signal(int signal_fd) {
  signalfd_siginfo info{};
  if (::read(signal_fd, &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo == SIGHUP) {
    reload_soon();
  } else if (!twin_.take(Clock::now())) {
    stop(info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
  }
}

void MainLoop::take_order() {
  switch (parts_.keeper.next()) {
    case lifecycle::Order::kNothing:
      break;
    case lifecycle::Order::kReload:
      reload_soon();
      break;
    case lifecycle::Order::kLeave:
      be_left();
      break;
    case lifecycle::Order::kStop:
      if (is<Stopping>()) break;
      twin_.expect(Clock::now());
      stop("keeper");
      break;
    case lifecycle::Order::kCut:
      stop("keeper");
      break;
  }
}

// The restart of a unit: systemd starts the successor when the keeper has ended.
void MainLoop::be_left() {
  // Otherwise the keeper waits until its limit and sends kStop. Without a hand-over socket no
  // successor finds this server.
  if (!is<Serving>() || handover_ == nullptr) return;
  stage_ = Left{.since = Clock::now()};
  watch_for_stop();
  parts_.notifier.mute();
  parts_.log.info("restart: serving until the successor takes over");
  parts_.keeper.let_go();
}

void MainLoop::reload_soon() {
  if (!reload_at_) reload_at_ = Clock::now() + lifecycle::kSignalSettle;
}

void MainLoop::reload() {
  reload_at_.reset();
  parts_.log.info("received SIGHUP, reloading GeoIP database");
  parts_.notifier.reloading();
  static_cast<void>(parts_.control.reload_geoip("SIGHUP"));  // logs the result itself
  parts_.notifier.ready();
}

void MainLoop::stop(std::string_view why) {
  switch (action_on_stop(stage_, hand_over())) {
    case StopAction::kWaitForHandOver:
      stop_after_hand_over_ = why;
      break;
    case StopAction::kStopServing:
      stop_serving(why);
      break;
    case StopAction::kStopLeft:
      stop_serving(why);
      leave_api();
      parts_.control.release_database();
      break;
    case StopAction::kStopDraining:
      stop_draining(why);
      break;
    case StopAction::kCut:
      cut(why);
      break;
  }
}

void MainLoop::stop_serving(std::string_view why) {
  const auto grace = parts_.config.proxy.shutdown_timeout;
  handover_.reset();
  parts_.log.info("stopping: no new connections, open ones have shutdown_timeout to end",
                  {{"signal", why},
                   {"active", parts_.plane.totals().active},
                   {"draining_servers", parts_.draining.count()},
                   {"shutdown_timeout", grace}});
  // The manager's copies would let newcomers wait in queues that nobody serves.
  for (const config::Listener& listener : parts_.config.listeners) {
    parts_.notifier.forget(listener.addr);
  }
  parts_.notifier.stopping();
  drain(grace);
  stage_ = Stopping{.others_until = Clock::now() + grace + kOthersGrace};
  parts_.draining.stop(grace);
}

void MainLoop::stop_draining(std::string_view why) {
  stage_ = Stopping{};
  const auto grace = parts_.config.proxy.shutdown_timeout;
  parts_.log.info(
      "stopping: open connections have shutdown_timeout to end",
      {{"signal", why}, {"active", parts_.plane.totals().active}, {"shutdown_timeout", grace}});
  drain(grace);
}

void MainLoop::cut(std::string_view why) {
  parts_.log.warn("second signal: cutting open connections", {{"signal", why}});
  drain(std::chrono::milliseconds(0));
  auto& others_until = std::get<Stopping>(stage_).others_until;
  if (!others_until) return;
  others_until = Clock::now() + kOthersGrace;
  parts_.draining.stop(std::chrono::milliseconds(0));
}

// Sessions that have less time already keep it.
void MainLoop::drain(std::chrono::milliseconds grace) {
  const Instant until = Clock::now() + grace;
  if (!sessions_until_ || until < *sessions_until_) {
    sessions_until_ = until;
    parts_.plane.drain(grace);
  }
  // A server that takes no clients chooses no backends.
  parts_.checker.stop();
  if (parts_.resolver != nullptr) parts_.resolver->set_names({});
  parts_.control.stop();
}

void MainLoop::stop_within(std::chrono::milliseconds time) {
  stop_within_ms_ = time.count();
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(ordered_.get(), &one, sizeof one);
}

void MainLoop::apply_stop_order() {
  std::uint64_t ignored = 0;
  if (::read(ordered_.get(), &ignored, sizeof ignored) != sizeof ignored) return;
  const std::chrono::milliseconds time(stop_within_ms_.exchange(kNoOrder));
  if (time.count() < 0) return;
  stage_ = Stopping{};
  parts_.log.info("stopping: the server that serves has ordered it",
                  {{"active", parts_.plane.totals().active}, {"within", time}});
  drain(time);
}

void MainLoop::leave_api() {
  parts_.metrics.reset();
  parts_.api.reset();
}

void MainLoop::tick() {
  next_tick_ = Clock::now() + kTick;
  parts_.control.tick();
  if (parts_.api != nullptr) parts_.api->tick();
  if (handover_ != nullptr) handover_->tick();
  if (parts_.plane.all_workers_progressed()) parts_.notifier.watchdog();
  parts_.notifier.status(status());
  if (database_is_out_ && hand_over() == HandOver::kNone) try_to_take_database_back();
  look_for_stop();  // a D-Bus signal that arrived with the reply to a call wakes no poll
  const auto* const left = std::get_if<Left>(&stage_);
  if (left != nullptr && Clock::now() > left->since + lifecycle::kSuccessorExpected) {
    report_failed_restart();
  }
}

// Once. A successor may still come, and then this process is over.
void MainLoop::report_failed_restart() {
  if (hand_over() == HandOver::kUnderWay ||
      parts_.control.warnings().is_raised(control::WarningKind::kTakeOverFailed)) {
    return;
  }
  const std::string why = "no new server came after the restart";
  parts_.log.error("the restart failed; this server goes on with the configuration that it has",
                   {{"why", why}});
  take_over_failed(why);
}

void MainLoop::take_over_failed(const std::string& why) {
  parts_.control.warnings().raise(
      control::WarningKind::kTakeOverFailed,
      fmt::format("a restart or upgrade failed ({}): pid {} serves on with the configuration from "
                  "before; see why in the log, correct it (mc-proxy check), and restart again",
                  why, ::getpid()));
}

std::string MainLoop::status() const {
  const std::uint64_t active = parts_.plane.totals().active;
  const std::string open = cli::format_items(active, "connection") + " open";
  if (is<Stopping>()) return "stopping, " + open;
  if (is<Draining>()) return "finishing, " + open;
  return fmt::format("serving {}, {}",
                     cli::format_items(parts_.config.listeners.size(), "listener"), open);
}

void MainLoop::report_totals() {
  const traffic::Totals totals = parts_.plane.totals();
  std::string ended;
  for (std::size_t i = 0; i < traffic::kReasons; ++i) {
    if (totals.ended[i] == 0) continue;
    ended += fmt::format("{}{}={}", ended.empty() ? "" : " ",
                         to_string(static_cast<traffic::Reason>(i)), totals.ended[i]);
  }
  parts_.log.info("stopped", {{"accepted", totals.accepted},
                              {"bytes_up", totals.bytes_up},
                              {"bytes_down", totals.bytes_down},
                              {"ended", ended}});
}

// ---- the hand-over, in the order that lifecycle/handover.hpp describes

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
  if (is<Draining>() || is<Stopping>()) return;
  const auto taken = parts_.control.take_database_back();
  database_is_out_ = !taken.has_value();
  if (database_is_out_) parts_.log.debug("database", {{"error", taken.error().message}});
}

void MainLoop::stop_accepting() { parts_.plane.suspend(); }

void MainLoop::accept_again() { parts_.plane.open(); }

void MainLoop::succeeded_by(pid_t successor, Fd place) {
  const auto time = drain_time(parts_.config.proxy);
  // Taken over without a restart of the unit, this is still the process that systemd watches.
  is<Left>() ? parts_.notifier.mute() : parts_.notifier.stopping();
  stage_ = Draining{};
  const std::string limit = time == proxy::DataPlane::kNoLimit ? "none" : format_duration(time);
  parts_.log.info("handed over: open connections go on", {{"successor", successor},
                                                          {"active", parts_.plane.totals().active},
                                                          {"drain_timeout", limit}});
  drain(time);
  leave_api();
  be_reached_at(std::move(place));
}

// By later servers, for as long as this one has connections.
void MainLoop::be_reached_at(Fd place) {
  if (!place) {
    parts_.log.warn(
        "only this log shows the connections that are left: the successor has made no "
        "socket for them; end this process by its number");
    return;
  }
  const std::string path = lifecycle::path_of_draining_place(parts_.config.database.path, place);
  auto api =
      admin::Server::start({.addr = std::nullopt,
                            .certificates = {},
                            .socket = path,
                            .version = MC_PROXY_VERSION,
                            .inherited_tcp = {},
                            .inherited_local = std::move(place),
                            .stop = [this](std::chrono::milliseconds time) { stop_within(time); }},
                           parts_.control, parts_.plane, parts_.log);
  if (!api.has_value()) {
    parts_.log.error("only this log shows the connections that are left",
                     {{"error", api.error().message}});
    return;
  }
  parts_.api = *std::move(api);
  parts_.api->own();
}

}  // namespace mc::server
