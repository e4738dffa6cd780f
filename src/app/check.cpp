// SPDX-License-Identifier: Apache-2.0
// mc-proxy check: what is wrong with the configuration, and what this machine would allow the
// server.

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "admin/certificates.hpp"
#include "admin/tcp_listener.hpp"
#include "app/commands.hpp"
#include "app/machine.hpp"
#include "base/quote.hpp"
#include "config/config.hpp"
#include "lifecycle/about.hpp"
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
  constexpr std::uint64_t kPage = 4096;
  const std::uint64_t busiest = workers * proxy::kBusiestPipeBytes / kPage;  // one of each worker
  const std::uint64_t rest = pages > busiest ? pages - busiest : 0;
  const std::uint64_t fit = rest / (proxy::kPipeBytes / kPage);
  const std::uint64_t wanted = workers * (proxy::kPipesPerWorker - 1);
  const std::string text = fmt::format(
      "{} KiB for each worker and {} KiB for stalled readers, at most {}; {} of these at full size "
      "(fs.pipe-user-pages-soft is {})",
      proxy::kBusiestPipeBytes / 1024, proxy::kPipeBytes / 1024, wanted, fit, pages);
  // Not wrong: pipes beyond that are small and slow, and only stalled readers hold a pipe.
  report.line("pipes", text, pages == 0 || fit >= wanted ? Finding::kGood : Finding::kNote);
}

// The server of this database, as far as it is known.
struct Running {
  enum class Known : std::uint8_t { kNone, kUnknown, kTold };

  Known known = Known::kNone;  // kUnknown: there may be one that cannot be asked
  pid_t pid = 0;               // 0: not seen from here, as in another container
  lifecycle::About about;      // kTold
};

void report_confinement(Report& report, const lifecycle::Confinement& confinement) {
  const auto line = [&](bool in_force, std::string text) {
    report.line("confinement", std::move(text), in_force ? Finding::kGood : Finding::kNote);
  };
  line(true, fmt::format("capabilities: {}; new privileges: none", confinement.capabilities));
  const bool has_landlock = confinement.landlock.starts_with("abi ");
  line(has_landlock,
       has_landlock
           ? fmt::format("Landlock ({}): files are written only below the directories of the "
                         "database and of the admin socket, and none is executed",
                         confinement.landlock)
           : fmt::format("Landlock: {}; it can write wherever its user may", confinement.landlock));
  line(confinement.seccomp.ends_with(" refused"), "seccomp: " + confinement.seccomp);
  line(true, "io_uring: " + confinement.rings);
}

// A server that does not tell: one of another version, or one that is just being replaced.
void report_untold(Report& report, pid_t pid, const std::string& why) {
  const std::string seen = pid > 0 ? lifecycle::confinement_of(pid) : std::string();
  report.line("confinement",
              fmt::format("the server does not tell ({}); {}", why,
                          seen.empty() ? "nor does the kernel from here" : "the kernel: " + seen),
              Finding::kNote);
}

// How the server that runs is confined, if one does; and what a start would find.
Running check_running(Report& report, const config::Config& config) {
  Running running;
  const auto found = lifecycle::Predecessor::find(config.database.path);
  if (!found.has_value()) {
    running.known = Running::Known::kUnknown;
    report.line("running server", found.error().message, Finding::kNote);
  } else if (*found != nullptr) {
    running.pid = (*found)->pid();
    report.line("running server", running.pid > 0 ? fmt::format("pid {}", running.pid)
                                                  : std::string("in another container"));
    auto about = (*found)->about();
    running.known = about.has_value() ? Running::Known::kTold : Running::Known::kUnknown;
    if (about.has_value()) {
      running.about = *std::move(about);
      report_confinement(report, running.about.confinement);
    } else {
      report_untold(report, running.pid, about.error().message);
    }
  }
  const int landlock = lifecycle::landlock_abi();
  report.line("landlock",
              landlock > 0 ? fmt::format("this kernel offers abi {}", landlock)
                           : std::string("this kernel has none: a server could write wherever its "
                                         "user may (boot with lsm=landlock,...)"),
              landlock > 0 ? Finding::kGood : Finding::kNote);
  return running;
}

// An address that the configuration wants.
struct Place {
  std::string subject;
  std::string name;
  SocketAddress address;
  std::function<Result<void>()> bind;
};

template <class T>
Result<void> only_whether(const Result<T>& result) {
  if (!result.has_value()) return std::unexpected(result.error());
  return {};
}

std::vector<Place> places_of(const config::Config& config) {
  std::vector<Place> places;
  for (const config::Listener& listener : config.listeners) {
    places.push_back({"listener", listener.name, listener.addr, [&listener] {
                        return only_whether(proxy::open_listeners(listener.addr, listener.name, 1));
                      }});
  }
  if (config.metrics.has_value()) {
    const SocketAddress& address = config.metrics->addr;
    places.push_back({"metrics", address.to_string(), address,
                      [&address] { return only_whether(metrics::open_listener(address)); }});
  }
  if (config.grpc.has_value() && config.grpc->addr.has_value()) {
    const SocketAddress& address = *config.grpc->addr;
    places.push_back({"admin API", address.to_string(), address,
                      [&address] { return only_whether(admin::TcpListener::open(address)); }});
  }
  return places;
}

// Where a port is taken and the server that runs has told where it listens.
void report_taken(Report& report, const Place& place, const Running& running,
                  const std::string& message) {
  const std::string port = fmt::format(":{}", place.address.port());
  const auto& all = running.about.listening;
  const auto same_port = std::ranges::find_if(
      all, [&](const std::string& address) { return address.ends_with(port); });
  if (same_port == all.end()) {
    report.line(place.subject, message + "; it is not the running server", Finding::kBad);
    return;
  }
  report.line(place.subject,
              fmt::format("{}: the running server has the port, at {}; another address for a port "
                          "that stays takes a stop and a start",
                          place.name, *same_port),
              Finding::kNote);
}

void check_listeners(Report& report, const config::Config& config, const Running& running) {
  std::string held;
  bool unexplained = false;
  for (const Place& place : places_of(config)) {
    if (std::ranges::find(running.about.listening, place.address.to_string()) !=
        running.about.listening.end()) {
      held += (held.empty() ? "" : ", ") +
              (place.subject == "listener" ? place.name : place.subject + " " + place.name);
      continue;
    }
    const auto bound = place.bind();
    if (bound.has_value()) {
      report.line(place.subject, fmt::format("{} can be bound", place.name));
    } else if (bound.error().message.find("in use") == std::string::npos) {
      report.line(place.subject, bound.error().message, Finding::kBad);
    } else if (running.known == Running::Known::kTold) {
      report_taken(report, place, running, bound.error().message);
    } else {
      report.line(place.subject, bound.error().message, Finding::kNote);
      unexplained = true;
    }
  }
  if (!held.empty()) report.line("listeners", held + ": the running server listens there");
  if (!unexplained) return;
  report.line("listeners",
              running.known == Running::Known::kNone
                  ? "no server runs with this database: with ports in use a start fails, unless "
                    "systemd holds them for it (mc-proxy.socket, or after a crash)"
                  : "ports in use are as they should be if the running server has them",
              Finding::kNote);
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
  const Running running = check_running(report, config);
  check_descriptors(report, config.proxy);
  check_pipes(report, cpus.size());
  check_listeners(report, config, running);
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
