// SPDX-License-Identifier: Apache-2.0
// mc-proxy check: what is wrong with the configuration, and what this machine would allow the
// server.

#include <fmt/ranges.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "app/commands.hpp"
#include "app/machine.hpp"
#include "app/policy_source.hpp"
#include "config/config.hpp"
#include "proxy/limits.hpp"
#include "proxy/sockets.hpp"
#include "ring/loop.hpp"

namespace mc::app {

namespace {

enum class Finding { kGood, kNote, kBad };

// Prints one finding a line and remembers the worst.
class Report {
 public:
  void line(std::string_view subject, std::string_view text, Finding finding = Finding::kGood) {
    const char* const mark = finding == Finding::kGood   ? "ok  "
                             : finding == Finding::kNote ? "note"
                                                         : "BAD ";
    fmt::print("{} {:<16} {}\n", mark, subject, text);
    if (finding == Finding::kBad) bad_ = true;
  }
  [[nodiscard]] bool bad() const { return bad_; }

 private:
  bool bad_ = false;
};

void check_ring(Report& report) {
  const ring::Machine machine = ring::Machine::probe();
  const bool supported = ring::kernel_is_supported(machine.kernel_release);
  report.line("kernel", fmt::format("Linux {} (6.1 or newer is needed)", machine.kernel_release),
              supported ? Finding::kGood : Finding::kBad);
  const auto loop = ring::Loop::create();
  if (loop.has_value()) {
    report.line("io_uring", "available");
  } else {
    report.line("io_uring", ring::explain(loop.error(), machine).message, Finding::kBad);
  }
}

void check_descriptors(Report& report, const config::Proxy& settings) {
  const std::uint64_t descriptors = raise_descriptor_limit();
  const std::uint64_t fit = connections_that_fit(descriptors);
  const auto wanted = static_cast<std::uint64_t>(settings.max_connections);
  if (wanted > fit) {
    report.line(
        "connections",
        fmt::format(
            "max_connections = {}, but RLIMIT_NOFILE is {} here, enough for {}; raise it (systemd: "
            "LimitNOFILE=)",
            wanted, descriptors, fit),
        Finding::kNote);
    return;
  }
  report.line("connections", fmt::format("{} (RLIMIT_NOFILE is {} here, enough for {})",
                                         wanted == 0 ? fit : wanted, descriptors, fit));
}

void check_pipes(Report& report, std::size_t workers) {
  std::uint64_t pages = 0;
  std::ifstream("/proc/sys/fs/pipe-user-pages-soft") >> pages;
  const std::uint64_t pages_of_one = proxy::kPipeBytes / 4096;
  const std::uint64_t wanted = workers * proxy::kPipesPerWorker;
  const std::string text = fmt::format(
      "{} KiB each, at most {}; {} may be stuck at full size (fs.pipe-user-pages-soft is {})",
      proxy::kPipeBytes / 1024, wanted, pages / pages_of_one, pages);
  // Not wrong: pipes beyond that are small and slow, and only stalled readers hold a pipe.
  report.line("pipes", text,
              pages == 0 || pages / pages_of_one >= wanted ? Finding::kGood : Finding::kNote);
}

void check_listeners(Report& report, const config::Config& config) {
  for (const config::Listener& listener : config.listeners) {
    const auto sockets = proxy::open_listeners(listener.addr, listener.name, 1);
    if (sockets.has_value()) {
      report.line("listener", fmt::format("{} can be bound", listener.name));
      continue;
    }
    const std::string& message = sockets.error().message;
    const bool in_use = message.find("in use") != std::string::npos;
    report.line("listener",
                in_use ? message + " (as it should be if that is mc-proxy itself)" : message,
                in_use ? Finding::kNote : Finding::kBad);
  }
}

}  // namespace

int check(const std::string& config_path) {
  const config::Parsed config = config::load(config_path);
  if (!config.has_value()) {
    complain(config::to_string(config.error()));
    return 1;
  }
  Report report;
  std::size_t routes = 0;
  for (const config::Listener& listener : config->listeners) routes += listener.routes.size();
  const config::Firewall& firewall = config->firewall;
  report.line(
      "configuration",
      fmt::format("{} listeners, {} routes, {} firewall rules", config->listeners.size(), routes,
                  firewall.blocked_ips.size() + firewall.blocked_cidrs.size() +
                      firewall.blocked_countries.size()));
  const auto policies = PolicySource::from(*config);
  if (!policies.has_value()) report.line("geoip", policies.error().message, Finding::kBad);
  const std::vector<int> cpus = cpus_for(static_cast<unsigned>(config->proxy.workers));
  report.line("workers", fmt::format("{}, on CPU {}", cpus.size(), fmt::join(cpus, ",")));
  check_ring(report);
  check_descriptors(report, config->proxy);
  check_pipes(report, cpus.size());
  check_listeners(report, *config);
  return report.bad() ? 1 : 0;
}

}  // namespace mc::app
