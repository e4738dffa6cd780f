// SPDX-License-Identifier: Apache-2.0
// mc-proxy check: what is wrong with the configuration, and what this machine would allow the
// server.

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "admin/certificates.hpp"
#include "admin/tcp_listener.hpp"
#include "app/commands.hpp"
#include "app/machine.hpp"
#include "base/quote.hpp"
#include "config/config.hpp"
#include "lifecycle/confinement.hpp"
#include "lifecycle/predecessor.hpp"
#include "metrics/endpoint.hpp"
#include "policy/geoip.hpp"
#include "proxy/limits.hpp"
#include "proxy/sockets.hpp"
#include "ring/loop.hpp"
#include "store/store.hpp"

namespace mc::app {

namespace {

enum class Finding { kGood, kNote, kBad };

// Collects the findings, in their order, and remembers the worst.
class Report {
 public:
  void line(std::string subject, std::string text, Finding finding = Finding::kGood) {
    if (finding == Finding::kBad) bad_ = true;
    lines_.push_back({finding, std::move(subject), std::move(text)});
  }
  [[nodiscard]] bool bad() const { return bad_; }

  void print_text() const {
    for (const Line& line : lines_) {
      const char* const mark = line.finding == Finding::kGood   ? "ok  "
                               : line.finding == Finding::kNote ? "note"
                                                                : "BAD ";
      fmt::print("{} {:<16} {}\n", mark, line.subject, line.text);
    }
  }

  void print_json() const {
    std::string out = fmt::format("{{\n \"good\": {},\n \"findings\": [", !bad_);
    for (const Line& line : lines_) {
      const char* const word = line.finding == Finding::kGood   ? "good"
                               : line.finding == Finding::kNote ? "note"
                                                                : "bad";
      out += fmt::format(
          "{}\n  {{\"finding\": \"{}\", \"subject\": ", &line == &lines_.front() ? "" : ",", word);
      append_json_string(out, line.subject);
      out += ", \"text\": ";
      append_json_string(out, line.text);
      out += '}';
    }
    fmt::print("{}\n ]\n}}\n", out);
  }

 private:
  struct Line {
    Finding finding;
    std::string subject;
    std::string text;
  };
  std::vector<Line> lines_;
  bool bad_ = false;
};

void check_database(Report& report, const config::Config& config) {
  const std::string& path = config.database.path;
  const auto contents = store::Store::peek(path);
  if (!contents.has_value()) {
    report.line("database", contents.error().message, Finding::kBad);
    return;
  }
  if (contents->revision == 0) {
    report.line("database", quote(path) + " is new: it gets the configuration's routes and rules");
    return;
  }
  report.line("database",
              fmt::format("{} is at revision {}: its {} routes and {} rules are in force, not "
                          "those of the configuration",
                          quote(path), contents->revision, contents->routes.size(),
                          contents->rules.size()));
  const bool has_countries = std::ranges::any_of(
      contents->rules, [](const store::FirewallRule& rule) { return rule.type == "country"; });
  if (has_countries && config.firewall.geoip_db.empty()) {
    report.line("geoip", "firewall: geoip_db is required: the database blocks countries",
                Finding::kBad);
  }
}

void check_geoip(Report& report, const config::Firewall& firewall) {
  if (firewall.geoip_db.empty()) return;
  const auto opened = policy::GeoIp::open(firewall.geoip_db);
  if (opened.has_value()) {
    report.line("geoip", (*opened)->type());
  } else {
    // Without a country rule the server starts all the same.
    report.line("geoip", opened.error().message,
                firewall.blocked_countries.empty() ? Finding::kNote : Finding::kBad);
  }
}

void check_socket(Report& report, const std::string& path) {
  if (path.empty()) return;
  const std::string folder = std::filesystem::path(path).parent_path();
  if (::access(folder.c_str(), W_OK | X_OK) == 0) {
    report.line("admin socket", path);
  } else if (errno == ENOENT && std::filesystem::path(folder).parent_path() == "/run") {
    report.line("admin socket",
                fmt::format("{}: there is no {} now; the service's unit makes it at the start "
                            "(RuntimeDirectory=); without systemd make it",
                            path, quote(folder)),
                Finding::kNote);
  } else {
    report.line("admin socket",
                fmt::format("{}: no file can be made in {}: {}; make the folder (systemd: "
                            "RuntimeDirectory=mc-proxy)",
                            path, quote(folder), std::strerror(errno)),
                Finding::kBad);
  }
}

void check_certificate(Report& report, const config::Grpc& grpc) {
  if (!grpc.addr.has_value()) return;
  const auto read =
      admin::read_credentials({grpc.tls_cert, grpc.tls_key, grpc.client_ca}, admin::Side::kServer);
  if (!read.has_value()) {
    report.line("certificate", read.error().message, Finding::kBad);
    return;
  }
  const bool expired = read->info.not_after <= std::chrono::system_clock::now();
  report.line("certificate",
              fmt::format("{}, {} {}", read->info.subject, expired ? "expired" : "until",
                          admin::format_time(read->info.not_after)),
              expired ? Finding::kNote : Finding::kGood);
}

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

void check_bound(Report& report, const std::string& subject, const std::string& name,
                 const Result<void>& bound) {
  if (bound.has_value()) {
    report.line(subject, fmt::format("{} can be bound", name));
    return;
  }
  const std::string& message = bound.error().message;
  const bool in_use = message.find("in use") != std::string::npos;
  report.line(subject, in_use ? message + " (as it should be if that is mc-proxy itself)" : message,
              in_use ? Finding::kNote : Finding::kBad);
}

template <class T>
Result<void> only_whether(const Result<T>& result) {
  if (!result.has_value()) return std::unexpected(result.error());
  return {};
}

void check_listeners(Report& report, const config::Config& config) {
  for (const config::Listener& listener : config.listeners) {
    check_bound(report, "listener", listener.name,
                only_whether(proxy::open_listeners(listener.addr, listener.name, 1)));
  }
  if (config.metrics.has_value()) {
    const SocketAddress& address = config.metrics->addr;
    check_bound(report, "metrics", address.to_string(),
                only_whether(metrics::open_listener(address)));
  }
  if (!config.grpc.has_value() || !config.grpc->addr.has_value()) return;
  const SocketAddress& address = *config.grpc->addr;
  check_bound(report, "admin API", address.to_string(),
              only_whether(admin::TcpListener::open(address)));
}

// Of the server that runs, if one does; and where none does, what a start would find.
void check_confinement(Report& report, const config::Config& config) {
  const auto running = lifecycle::Predecessor::find(config.database.path);
  if (!running.has_value()) {
    report.line("running server", running.error().message, Finding::kNote);
  } else if (*running != nullptr) {
    report.line("running server", fmt::format("pid {}: {}", (*running)->pid(),
                                              lifecycle::confinement_of((*running)->pid())));
  }
  const int landlock = lifecycle::landlock_abi();
  report.line("landlock",
              landlock > 0 ? fmt::format("abi {}", landlock)
                           : std::string("this kernel has none: a server could write wherever its "
                                         "user may (boot with lsm=landlock,...)"),
              landlock > 0 ? Finding::kGood : Finding::kNote);
}

void check_all(Report& report, const config::Config& config) {
  std::size_t routes = 0;
  for (const config::Listener& listener : config.listeners) routes += listener.routes.size();
  const config::Firewall& firewall = config.firewall;
  report.line(
      "configuration",
      fmt::format("{} listeners, {} routes, {} firewall rules", config.listeners.size(), routes,
                  firewall.blocked_ips.size() + firewall.blocked_cidrs.size() +
                      firewall.blocked_countries.size()));
  check_database(report, config);
  check_geoip(report, firewall);
  if (config.grpc.has_value()) {
    check_socket(report, config.grpc->socket);
    check_certificate(report, *config.grpc);
  }
  const std::vector<int> cpus = cpus_for(static_cast<unsigned>(config.proxy.workers));
  const std::string where =
      config.proxy.pin_workers ? fmt::format(", on CPU {}", fmt::join(cpus, ",")) : "";
  report.line("workers", fmt::format("{}{}", cpus.size(), where));
  check_ring(report);
  check_confinement(report, config);
  check_descriptors(report, config.proxy);
  check_pipes(report, cpus.size());
  check_listeners(report, config);
}

}  // namespace

int check(const ClientOptions& options) {
  const config::Parsed config = config::load(options.config_path);
  Report report;
  if (config.has_value()) {
    check_all(report, *config);
  } else if (options.json) {
    for (const config::Problem& problem : config.error()) {
      report.line("configuration", problem.to_string(), Finding::kBad);
    }
  } else {
    complain(config::to_string(config.error()));
    return kFailed;
  }
  if (options.json) {
    report.print_json();
  } else {
    report.print_text();
  }
  return report.bad() ? kFailed : kDone;
}

}  // namespace mc::app
