// SPDX-License-Identifier: Apache-2.0
// mc-proxy server: reads the configuration, starts the data plane and waits for signals.

#include <fmt/ranges.h>
#include <poll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admin/server.hpp"
#include "app/commands.hpp"
#include "app/machine.hpp"
#include "base/log.hpp"
#include "config/config.hpp"
#include "control/control.hpp"
#include "proxy/data_plane.hpp"

namespace mc::app {

namespace {

// Blocked before any thread starts, so that all threads inherit that and signals come through the
// descriptor alone.
Fd block_signals() {
  std::signal(SIGPIPE, SIG_IGN);  // splice(2) has no MSG_NOSIGNAL
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return Fd(::signalfd(-1, &signals, SFD_CLOEXEC));
}

std::uint64_t connections_max(const config::Proxy& settings, std::uint64_t descriptors, Log& log) {
  const std::uint64_t fit = connections_that_fit(descriptors);
  if (settings.max_connections == 0) return fit;
  const auto wanted = static_cast<std::uint64_t>(settings.max_connections);
  if (wanted > fit) {
    log.warn(
        "max_connections is more than RLIMIT_NOFILE allows; accepting will pause when descriptors "
        "run out. "
        "Raise the limit (systemd: LimitNOFILE=)",
        {{"max_connections", wanted}, {"rlimit_nofile", descriptors}, {"fit", fit}});
  }
  return wanted;
}

proxy::DataPlaneOptions options_from(const config::Config& config, std::uint64_t connections) {
  proxy::DataPlaneOptions options;
  for (const config::Listener& listener : config.listeners) {
    options.settings.listener_names.push_back(listener.name);
    options.addresses.push_back(listener.addr);
  }
  options.settings.splice = config.proxy.splice == config::Splice::kRing
                                ? proxy::SpliceMode::kRing
                                : proxy::SpliceMode::kInline;
  options.settings.hello_timeout = config.proxy.hello_timeout;
  options.settings.connect_timeout = config.proxy.connect_timeout;
  options.settings.idle_timeout = config.proxy.idle_timeout;
  options.settings.connections_max = connections;
  options.cpus = cpus_for(static_cast<unsigned>(config.proxy.workers));
  return options;
}

admin::ServerOptions options_from(const config::Grpc& grpc) {
  return {.addr = grpc.addr,
          .certificates = {grpc.tls_cert, grpc.tls_key, grpc.client_ca},
          .socket = grpc.socket,
          .version = MC_PROXY_VERSION};
}

void announce(const config::Config& config, std::uint64_t connections, Log& log) {
  std::vector<std::string> names;
  for (const config::Listener& listener : config.listeners) names.push_back(listener.name);
  std::vector<std::string> apis;
  if (config.grpc && config.grpc->addr) apis.push_back(config.grpc->addr->to_string());
  if (config.grpc && !config.grpc->socket.empty()) apis.push_back(config.grpc->socket);
  log.info("serving", {{"version", "v" MC_PROXY_VERSION},
                       {"listeners", fmt::format("{}", fmt::join(names, ","))},
                       {"admin", fmt::format("{}", fmt::join(apis, ","))},
                       {"workers", cpus_for(static_cast<unsigned>(config.proxy.workers)).size()},
                       {"splice", config.proxy.splice == config::Splice::kRing ? "ring" : "inline"},
                       {"max_connections", connections}});
}

// From the start of the data plane to its end.
class MainLoop {
 public:
  /// `api` is null where the configuration has no [grpc].
  MainLoop(const config::Config& config, control::Control& control, proxy::DataPlane& plane,
           admin::Server* api, Log& log)
      : config_(config), control_(control), plane_(plane), api_(api), log_(log) {}

  void run(int signal_fd) {
    pollfd watched[] = {{.fd = signal_fd, .events = POLLIN, .revents = 0},
                        {.fd = plane_.ended_fd(), .events = POLLIN, .revents = 0}};
    while ((watched[1].revents & POLLIN) == 0) {
      if (::poll(watched, 2, kTickMs) < 0) continue;
      if ((watched[0].revents & POLLIN) != 0) take_signal(signal_fd);
      control_.tidy();
      if (api_ != nullptr) api_->tick();
    }
    report_totals();
  }

 private:
  // How often the certificate files are looked at, the health service is told, and the database's
  // log is moved.
  static constexpr int kTickMs = 1000;

  void take_signal(int signal_fd) {
    signalfd_siginfo info{};
    if (::read(signal_fd, &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGHUP) {
      log_.info("received SIGHUP, reloading GeoIP database");
      static_cast<void>(control_.reload_geoip("SIGHUP"));  // says itself what came of it
    } else {
      stop(info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    }
  }

  void stop(std::string_view signal) {
    if (std::exchange(stopping_, true)) {
      log_.warn("second signal: cutting open connections", {{"signal", signal}});
      plane_.drain(std::chrono::milliseconds(0));
      return;
    }
    log_.info("stopping: no new connections, open ones have shutdown_timeout to end",
              {{"signal", signal},
               {"active", plane_.totals().active},
               {"shutdown_timeout", config_.proxy.shutdown_timeout}});
    plane_.drain(config_.proxy.shutdown_timeout);
    control_.stop();
  }

  void report_totals() {
    const proxy::Totals totals = plane_.totals();
    std::string ended;
    for (std::size_t i = 0; i < proxy::kReasons; ++i) {
      if (totals.ended[i] == 0) continue;
      ended += fmt::format("{}{}={}", ended.empty() ? "" : " ",
                           to_string(static_cast<proxy::Reason>(i)), totals.ended[i]);
    }
    log_.info("stopped", {{"accepted", totals.accepted},
                          {"bytes_up", totals.bytes_up},
                          {"bytes_down", totals.bytes_down},
                          {"ended", ended}});
  }

  const config::Config& config_;
  control::Control& control_;
  proxy::DataPlane& plane_;
  admin::Server* const api_;
  Log& log_;
  bool stopping_ = false;
};

}  // namespace

int serve(const std::string& config_path) {
  const config::Parsed config = config::load(config_path);
  if (!config.has_value()) {
    complain(config::to_string(config.error()));
    return kFailed;
  }
  Log log({.level = config->log.level, .format = config->log.format});
  const Fd signals = block_signals();
  const std::uint64_t descriptors = raise_descriptor_limit();

  const auto give_up = [&log](const std::string& why) {
    log.error("not started", {{"error", why}});
    return kFailed;
  };
  const auto control = control::Control::open(*config, log);
  if (!control.has_value()) return give_up(control.error().message);
  const std::uint64_t connections = connections_max(config->proxy, descriptors, log);
  const auto plane =
      proxy::DataPlane::start(options_from(*config, connections), (*control)->first_policy(), log);
  if (!plane.has_value()) return give_up(plane.error().message);
  if (const auto attached = (*control)->attach(**plane); !attached.has_value()) {
    return give_up(attached.error().message);
  }
  std::unique_ptr<admin::Server> api;
  if (config->grpc.has_value()) {
    auto started = admin::Server::start(options_from(*config->grpc), **control, log);
    if (!started.has_value()) return give_up(started.error().message);
    api = *std::move(started);
  }
  (*plane)->open();
  announce(*config, connections, log);
  MainLoop(*config, **control, **plane, api.get(), log).run(signals.get());
  return kDone;
}

}  // namespace mc::app
