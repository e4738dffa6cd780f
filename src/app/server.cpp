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

#include "app/commands.hpp"
#include "app/machine.hpp"
#include "app/policy_source.hpp"
#include "base/log.hpp"
#include "config/config.hpp"
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

// From the start of the data plane to its end.
class Service {
 public:
  Service(const config::Config& config, PolicySource& policies, proxy::DataPlane& plane, Log& log)
      : config_(config), policies_(policies), plane_(plane), log_(log) {}

  void run(int signal_fd) {
    pollfd watched[] = {{.fd = signal_fd, .events = POLLIN, .revents = 0},
                        {.fd = plane_.ended_fd(), .events = POLLIN, .revents = 0}};
    while ((watched[1].revents & POLLIN) == 0) {
      if (::poll(watched, 2, -1) < 0) continue;
      if ((watched[0].revents & POLLIN) != 0) take_signal(signal_fd);
    }
    report_totals();
  }

 private:
  void take_signal(int signal_fd) {
    signalfd_siginfo info{};
    if (::read(signal_fd, &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGHUP) {
      reload_geoip();
    } else {
      stop(info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    }
  }

  void reload_geoip() {
    log_.info("received SIGHUP, reloading GeoIP database");
    const Result<void> reloaded = policies_.reload_geoip();
    if (!reloaded.has_value()) {
      log_.error("GeoIP database not reloaded; the one in force stays",
                 {{"error", reloaded.error().message}});
      return;
    }
    plane_.published().publish(policies_.make());
    log_.info("GeoIP database reloaded", {{"path", config_.firewall.geoip_db}});
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
  PolicySource& policies_;
  proxy::DataPlane& plane_;
  Log& log_;
  bool stopping_ = false;
};

}  // namespace

int serve(const std::string& config_path) {
  const config::Parsed config = config::load(config_path);
  if (!config.has_value()) {
    complain(config::to_string(config.error()));
    return 1;
  }
  Log log({.level = config->log.level, .format = config->log.format});
  const Fd signals = block_signals();
  const std::uint64_t descriptors = raise_descriptor_limit();

  Result<PolicySource> policies = PolicySource::from(*config);
  if (!policies.has_value()) {
    log.error("not started", {{"error", policies.error().message}});
    return 1;
  }
  const std::uint64_t connections = connections_max(config->proxy, descriptors, log);
  auto plane = proxy::DataPlane::start(options_from(*config, connections), policies->make(), log);
  if (!plane.has_value()) {
    log.error("not started", {{"error", plane.error().message}});
    return 1;
  }
  std::vector<std::string> names;
  for (const config::Listener& listener : config->listeners) names.push_back(listener.name);
  log.info("serving",
           {{"version", "v" MC_PROXY_VERSION},
            {"listeners", fmt::format("{}", fmt::join(names, ","))},
            {"workers", cpus_for(static_cast<unsigned>(config->proxy.workers)).size()},
            {"splice", config->proxy.splice == config::Splice::kRing ? "ring" : "inline"},
            {"max_connections", connections}});
  Service(*config, *policies, **plane, log).run(signals.get());
  return 0;
}

}  // namespace mc::app
