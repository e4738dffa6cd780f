// SPDX-License-Identifier: Apache-2.0
// mc-proxy check: the start of a server, stopped before it serves. The steps are those of
// server.cpp, as the user of the service and with all sockets held at the same time. Unlike a start
// it continues after a failed step, to find all errors.

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admin/local_socket.hpp"
#include "base/descriptor_limit.hpp"
#include "base/log.hpp"
#include "base/owner.hpp"
#include "base/quote.hpp"
#include "cli/complain.hpp"
#include "cli/format.hpp"
#include "config/config.hpp"
#include "control/control.hpp"
#include "lifecycle/confinement.hpp"
#include "lifecycle/credentials.hpp"
#include "lifecycle/predecessor.hpp"
#include "lifecycle/self_report.hpp"
#include "lifecycle/service_unit.hpp"
#include "policy/geoip.hpp"
#include "proxy/limits.hpp"
#include "ring/loop.hpp"
#include "rpc/credentials.hpp"
#include "server/bound_sockets.hpp"
#include "server/check_network.hpp"
#include "server/commands.hpp"
#include "server/confinement_needs.hpp"
#include "server/findings.hpp"
#include "server/host_limits.hpp"

namespace mc::server {
namespace {

template <class T>
bool contains(const std::vector<T>& all, const T& one) {
  return std::ranges::find(all, one) != all.end();
}

// ---- the user

void raise_limit(Findings& findings, int resource, const char* name, std::optional<rlim_t> wanted) {
  if (!wanted.has_value()) return;
  const rlimit limit{.rlim_cur = *wanted, .rlim_max = *wanted};
  if (::setrlimit(resource, &limit) == 0) return;
  findings.add(
      "limits",
      fmt::format(
          "the unit's {} cannot be set here; the following results are for this shell's limit",
          name),
      Finding::kNote);
}

// From here on this process sees what the server would see: as its user, within its limits.
void become_the_service(Findings& findings, const lifecycle::ServiceUnit& unit) {
  raise_limit(findings, RLIMIT_NOFILE, "LimitNOFILE=", unit.descriptors_max);
  raise_limit(findings, RLIMIT_MEMLOCK, "LimitMEMLOCK=", unit.locked_memory_max);
  if (unit.user.empty()) {
    findings.add("user", fmt::format("root, the user of {}", unit.name));
    return;
  }
  const auto become = lifecycle::become_user(unit.user);
  findings.add("user",
               become.has_value() ? fmt::format("{}, the user of {}", unit.user, unit.name)
                                  : become.error().message,
               become.has_value() ? Finding::kGood : Finding::kBad);
}

// The unit that would start the server; nothing if none has this configuration.
std::optional<lifecycle::ServiceUnit> choose_user(Findings& findings,
                                                  const cli::ClientOptions& options,
                                                  const std::string& user) {
  auto unit = lifecycle::find_service_unit(cli::kUnit);
  const bool is_ours = unit.has_value() && unit->uses(options.config_path);
  if (!user.empty()) {
    const auto become = lifecycle::become_user(user);
    findings.add("user", become.has_value() ? printable(user) : become.error().message,
                 become.has_value() ? Finding::kGood : Finding::kBad);
  } else if (is_ours && ::geteuid() == 0) {
    become_the_service(findings, *unit);
  } else {
    const std::string self = user_text(::geteuid());
    const std::string servers = !unit.has_value() ? self : unit->user.empty() ? "root" : unit->user;
    const bool is_same = servers == self;
    findings.add("user",
                 is_same ? self
                         : fmt::format("{}; {} starts a server as {}: as root, `mc-proxy check "
                                       "--user {}` checks as that user",
                                       self, unit->name, servers, servers),
                 is_same ? Finding::kGood : Finding::kNote);
  }
  if (!is_ours) unit.reset();
  return unit;
}

// ---- the running server

struct Running {
  enum class Known : std::uint8_t { kNone, kUnknown, kTold };

  Known known = Known::kNone;    // kUnknown: there may be one, but it cannot be reached
  pid_t pid = 0;                 // 0: not seen from here, as in another container
  lifecycle::SelfReport report;  // kTold
};

void report_confinement(Findings& findings, const lifecycle::Confinement& confinement) {
  const auto line = [&](bool in_force, std::string text) {
    findings.add("confinement", std::move(text), in_force ? Finding::kGood : Finding::kNote);
  };
  line(true, fmt::format("capabilities: {}; new privileges: none", confinement.capabilities));
  const bool has_landlock = confinement.landlock.starts_with("abi ");
  line(has_landlock,
       has_landlock
           ? fmt::format("Landlock ({}): files are written only below the directories of the "
                         "database and of the admin socket, and none is executed",
                         confinement.landlock)
           : fmt::format("Landlock: {}; it can write wherever its user may", confinement.landlock));
  line(confinement.seccomp.contains(" system calls refused"), "seccomp: " + confinement.seccomp);
  line(true, "io_uring: " + confinement.rings);
}

// A server of another version, which can still hand over, or one that hangs, which cannot.
void report_untold(Findings& findings, pid_t pid, const std::string& why) {
  const std::string seen = pid > 0 ? lifecycle::confinement_of(pid) : std::string();
  findings.add("confinement",
               fmt::format("the server sent no report ({}){}", why,
                           seen.empty() ? ", and the kernel shows none to this user"
                                        : "; the kernel shows: " + seen),
               Finding::kNote);
  if (!why.contains("no reply")) return;
  findings.add("running server",
               "a server that does not reply cannot hand over; see its log, and end it with kill "
               "if it hangs",
               Finding::kBad);
}

// Requests the report of the running server, if there is one.
Running check_running(Findings& findings, const config::Config& config) {
  Running running;
  const auto found = lifecycle::Predecessor::find(config.database.path);
  if (!found.has_value()) {
    running.known = Running::Known::kUnknown;
    findings.add("running server", found.error().message, Finding::kBad);
    return running;
  }
  if (*found == nullptr) return running;
  running.pid = (*found)->pid();
  findings.add("running server", running.pid > 0 ? fmt::format("pid {}", running.pid)
                                                 : std::string("in another container"));
  auto report = (*found)->self_report();
  running.known = report.has_value() ? Running::Known::kTold : Running::Known::kUnknown;
  if (report.has_value()) {
    running.report = *std::move(report);
    report_confinement(findings, running.report.confinement);
  } else {
    report_untold(findings, running.pid, report.error().message);
  }
  return running;
}

void check_landlock(Findings& findings) {
  const int abi = lifecycle::landlock_abi();
  findings.add("landlock",
               abi > 0 ? fmt::format("this kernel offers abi {}", abi)
                       : std::string("this kernel has none: a server could write wherever its user "
                                     "may (boot with lsm=landlock,...)"),
               abi > 0 ? Finding::kGood : Finding::kNote);
}

// What a server with this file would be refused, and what not.
void check_refusals(Findings& findings, const config::Config& config) {
  const lifecycle::ConfinementNeeds needs = confinement_needs(config);
  findings.add(
      "confinement",
      fmt::format(
          "with this file: {}{}; io_uring: {}", lifecycle::refused_calls(needs),
          needs.source_addresses ? "" : ", bind(2) among them, because [proxy] sources is not set",
          allowed_on_rings()));
}

// ---- files

// The policy that the server would start with; null if the start would fail.
std::shared_ptr<const control::State> check_database(Findings& findings,
                                                     const config::Config& config,
                                                     const Running& running, Log& log) {
  const std::string& path = config.database.path;
  const auto holder = running.known == Running::Known::kNone ? store::Store::holder(path) : 0;
  if (holder != 0) {
    findings.add("database",
                 fmt::format("{}: in use by another mc-proxy server (pid {}) that does not hand "
                             "over; stop that one first",
                             quote(path), holder),
                 Finding::kBad);
  }
  auto rehearsed = control::Control::rehearse(config, log);
  if (!rehearsed.has_value()) {
    findings.add("database", rehearsed.error().message, Finding::kBad);
    return nullptr;
  }
  for (const auto& [listener, count] : rehearsed->left_behind) {
    findings.add(
        "routes",
        fmt::format("{} of listener {}, which is not configured, or only redirects, would be kept, "
                    "unused; "
                    "mc-proxy routes move {} TO gives them to another",
                    cli::format_items(count, "route"), printable(listener), printable(listener)),
        Finding::kNote);
  }
  if (const auto no_room = store::Store::cannot_be_written(path); no_room.has_value()) {
    findings.add("database", no_room->message + "; what it has is served, and changes are refused",
                 Finding::kNote);
  }
  if (rehearsed->is_new) {
    findings.add("database",
                 quote(path) + " is new: it gets the configuration's routes, pools and rules");
    return rehearsed->state;
  }
  const auto& state = *rehearsed->state;
  std::size_t routes = 0;
  for (const policy::RouteTable& table : state.routes) routes += table.size();
  findings.add("database",
               fmt::format("{} is at revision {}: its {}, {} and {} are in force, not those of the "
                           "configuration",
                           quote(path), state.revision, cli::format_items(routes, "route"),
                           cli::format_items(state.pools->size(), "pool"),
                           cli::format_items(state.rules->size(), "rule")));
  return rehearsed->state;
}

void check_geoip(Findings& findings, const config::Firewall& firewall) {
  if (firewall.geoip_db.empty()) return;
  const auto opened = policy::GeoIp::open(firewall.geoip_db);
  // Without a country rule the server starts anyway; with one, the database's line reports it.
  findings.add("geoip", opened.has_value() ? (*opened)->type() : opened.error().message,
               opened.has_value() ? Finding::kGood : Finding::kNote);
}

void check_socket(Findings& findings, const std::string& path, const Running& running,
                  const std::optional<lifecycle::ServiceUnit>& unit) {
  if (path.empty()) return;
  const std::string folder = std::filesystem::path(path).parent_path();
  if (unit.has_value() && contains(unit->runtime_directories, folder)) {
    findings.add("admin socket", fmt::format("{}; {} makes {}", path, unit->name, folder));
    return;
  }
  const auto possible = admin::LocalSocket::rehearse(path, running.pid);
  findings.add("admin socket", possible.has_value() ? path : possible.error().message,
               possible.has_value() ? Finding::kGood : Finding::kBad);
}

void check_certificate(Findings& findings, const config::Grpc& grpc) {
  if (!grpc.addr.has_value()) return;
  const auto read =
      rpc::read_credentials({grpc.tls_cert, grpc.tls_key, grpc.client_ca}, rpc::Side::kServer);
  if (!read.has_value()) {
    findings.add("certificate", read.error().message, Finding::kBad);
    return;
  }
  const bool expired = read->info.not_after <= std::chrono::system_clock::now();
  findings.add("certificate",
               fmt::format("{}, {} {}", read->info.subject, expired ? "expired" : "until",
                           rpc::format_time(read->info.not_after)),
               expired ? Finding::kNote : Finding::kGood);
}

// ---- sockets

// Opens all sockets that the server would open and holds them together.
class Sockets {
 public:
  Sockets(Findings& findings, const config::Config& config, const Running& running,
          const std::optional<lifecycle::ServiceUnit>& unit)
      : findings_(findings), config_(config), running_(running), unit_(unit) {}

  void open() {
    open_listeners();
    if (config_.metrics.has_value()) {
      const SocketAddress& address = config_.metrics->addr;
      open("metrics", address, [&] { return open_metrics(address, none_); });
    }
    if (config_.grpc.has_value() && config_.grpc->addr.has_value()) {
      const SocketAddress& address = *config_.grpc->addr;
      open("admin API", address, [&] { return open_api(address, none_); });
    }
    if (!held_.empty()) {
      findings_.add("listeners", held_ + ": the running server listens there");
    }
    if (!given_.empty()) findings_.add("listeners", given_ + ": systemd listens there");
  }

  /// For the data plane: the listeners that could be opened.
  proxy::DataPlaneOptions take(std::uint64_t connections) {
    proxy::DataPlaneOptions options = plane_options(config_, connections);
    options.addresses = std::move(options_.addresses);
    options.inherited = std::move(options_.inherited);
    options.settings.listener_names = std::move(options_.settings.listener_names);
    options.settings.listeners = std::move(options_.settings.listeners);
    return options;
  }

 private:
  void open_listeners() {
    std::vector<const config::Listener*> missing;
    std::vector<SocketAddress> held;
    for (const config::Listener& listener : config_.listeners) {
      if (is_held("", listener.name, listener.addr)) {
        held.push_back(listener.addr);
      } else {
        missing.push_back(&listener);
      }
    }
    auto all = server::open_listeners(missing, workers_of(config_), none_, held);
    for (std::size_t i = 0; i < missing.size(); ++i) {
      const bool redirects = missing[i]->settings.redirect.has_value();
      report(redirects ? "redirect" : "listener", missing[i]->name, missing[i]->addr, all[i]);
      if (!all[i].has_value()) continue;
      options_.addresses.push_back(missing[i]->addr);
      options_.settings.listener_names.push_back(missing[i]->name);
      options_.settings.listeners.push_back(missing[i]->settings);
      options_.inherited.push_back(*std::move(all[i]));
    }
  }

  template <class Open>
  void open(const char* subject, const SocketAddress& address, Open open) {
    const std::string name = address.to_string();
    if (is_held(std::string(subject) + " ", name, address)) return;
    Result<Fd> opened = open();
    report(subject, name, address, opened);
    if (opened.has_value()) kept_.push_back(*std::move(opened));
  }

  // Whether the server gets the socket from the one that runs, or from systemd.
  bool is_held(const std::string& subject, const std::string& name, const SocketAddress& address) {
    std::string* list = nullptr;
    if (contains(running_.report.listening, address.to_string())) list = &held_;
    if (running_.known == Running::Known::kNone && unit_.has_value() &&
        contains(unit_->sockets, address)) {
      list = &given_;
    }
    if (list == nullptr) return false;
    *list += (list->empty() ? "" : ", ") + subject + name;
    return true;
  }

  template <class T>
  void report(const char* subject, const std::string& name, const SocketAddress& address,
              const Result<T>& opened) {
    if (opened.has_value()) {
      findings_.add(subject, fmt::format("{} can be bound", name));
      return;
    }
    const std::string& message = opened.error().message;
    if (!lifecycle::may_bind(address.port()) && unit_.has_value() && unit_->binds_low_ports &&
        unit_->user == user_text(::geteuid())) {
      findings_.add(subject,
                    fmt::format("{}: only as {} starts it: CAP_NET_BIND_SERVICE is needed", name,
                                unit_->name),
                    Finding::kNote);
    } else if (!message.contains("in use")) {
      findings_.add(subject, message, Finding::kBad);
    } else {
      report_taken(subject, name, address, message);
    }
  }

  [[nodiscard]] bool is_configured(const std::string& address) const {
    return std::ranges::any_of(config_.listeners, [&](const config::Listener& listener) {
      return listener.addr.to_string() == address;
    });
  }

  void report_taken(const char* subject, const std::string& name, const SocketAddress& address,
                    const std::string& message) {
    const std::string port = fmt::format(":{}", address.port());
    const auto& all = running_.report.listening;
    // A listener that stays is not the cause: listeners may overlap.
    const auto same_port = std::ranges::find_if(
        all, [&](const std::string& one) { return one.ends_with(port) && !is_configured(one); });
    if (same_port != all.end()) {
      findings_.add(subject,
                    fmt::format("{}: the running server has the port, at {}; to give this port "
                                "another address, stop the server and start it again",
                                name, *same_port),
                    Finding::kBad);
    } else if (running_.known == Running::Known::kUnknown) {
      findings_.add(subject, message + "; this is correct if the running server has it",
                    Finding::kNote);
    } else if (running_.known == Running::Known::kNone && unit_.has_value() &&
               unit_->stores_sockets) {
      findings_.add(subject, message + "; this is correct if systemd holds it, after a crash",
                    Finding::kNote);
    } else {
      findings_.add(subject, message, Finding::kBad);
    }
  }

  Findings& findings_;
  const config::Config& config_;
  const Running& running_;
  const std::optional<lifecycle::ServiceUnit>& unit_;
  lifecycle::InheritedSockets none_;
  proxy::DataPlaneOptions options_;
  std::vector<Fd> kept_;
  std::string held_, given_;
};

// ---- rings and limits

void check_kernel(Findings& findings) {
  const ring::HostProbe machine = ring::HostProbe::probe();
  findings.add("kernel", fmt::format("Linux {} (6.1 or newer is needed)", machine.kernel_release),
               ring::kernel_is_supported(machine.kernel_release) ? Finding::kGood : Finding::kBad);
}

void check_descriptors(Findings& findings, const config::Config& config,
                       std::uint64_t descriptors) {
  if (const auto enough = require_descriptors(config, descriptors); !enough.has_value()) {
    findings.add("connections", enough.error().message, Finding::kBad);
    return;
  }
  const std::uint64_t fit = connections_that_fit(config, descriptors);
  const auto wanted = static_cast<std::uint64_t>(config.proxy.max_connections);
  if (wanted > fit) {
    findings.add(
        "connections",
        fmt::format(
            "max_connections = {}, but RLIMIT_NOFILE is {} here, enough for {}; raise it (systemd: "
            "LimitNOFILE=)",
            wanted, descriptors, fit),
        Finding::kNote);
    return;
  }
  findings.add("connections", fmt::format("{} (RLIMIT_NOFILE is {} here, enough for {})",
                                          wanted == 0 ? fit : wanted, descriptors, fit));
}

void check_pipes(Findings& findings, std::size_t workers) {
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
  // Not an error: pipes beyond that are small and slow, and only stalled readers hold a pipe.
  findings.add("pipes", text, pages == 0 || fit >= wanted ? Finding::kGood : Finding::kNote);
}

// All workers with their rings, beside those of the running server, as in a take-over.
void check_workers(Findings& findings, const config::Config& config,
                   proxy::DataPlaneOptions options,
                   const std::shared_ptr<const control::State>& state, Log& log) {
  const std::string where =
      config.proxy.pin_workers ? fmt::format(", on CPU {}", fmt::join(options.cpus, ",")) : "";
  findings.add("workers", fmt::format("{}{}", options.cpus.size(), where));
  policy::PublishedPolicy policy(state != nullptr ? state->policy() : control::State().policy(),
                                 options.cpus.size());
  const auto plane = proxy::DataPlane::start(std::move(options), policy, log);
  findings.add("io_uring", plane.has_value() ? "a ring for each worker" : plane.error().message,
               plane.has_value() ? Finding::kGood : Finding::kBad);
}

void check_all(Findings& findings, const config::Config& config,
               const std::optional<lifecycle::ServiceUnit>& unit) {
  std::size_t routes = 0;
  for (const config::Listener& listener : config.listeners) routes += listener.routes.size();
  const config::Firewall& firewall = config.firewall;
  findings.add(
      "configuration",
      fmt::format("{}, {}, {}, {}", cli::format_items(config.listeners.size(), "listener"),
                  cli::format_items(routes, "route"),
                  cli::format_items(config.pools.size(), "pool"),
                  cli::format_items(firewall.blocked_ips.size() + firewall.blocked_cidrs.size() +
                                        firewall.blocked_countries.size(),
                                    "firewall rule")));
  Log log({.level = LogLevel::kWarn});
  const std::uint64_t descriptors = raise_descriptor_limit();
  const Running running = check_running(findings, config);
  Sockets sockets(findings, config, running, unit);
  sockets.open();
  const auto state = check_database(findings, config, running, log);
  check_geoip(findings, firewall);
  if (config.grpc.has_value()) {
    check_socket(findings, config.grpc->socket, running, unit);
    check_certificate(findings, *config.grpc);
  }
  if (state != nullptr) check_named_pools(findings, config, *state);
  check_sources(findings, config.proxy.sources);
  check_dns(findings, config.dns);
  check_kernel(findings);
  check_landlock(findings);
  check_refusals(findings, config);
  check_descriptors(findings, config, descriptors);
  check_pipes(findings, workers_of(config));
  check_workers(findings, config, sockets.take(connections_that_fit(config, descriptors)), state,
                log);
}

// Prints what is wrong with a configuration file, then what would keep a server from starting with
// it. Runs as `user`; if empty, as the user of the unit with the configuration, else as this
// process.
int check(const cli::ClientOptions& options, const std::string& user) {
  Findings findings;
  const auto unit = choose_user(findings, options, user);
  const config::Parsed config = config::load(options.config_path);
  if (config.has_value()) {
    if (!findings.bad()) check_all(findings, *config, unit);
  } else if (options.json) {
    for (const config::Problem& problem : config.error()) {
      findings.add("configuration", problem.to_string(), Finding::kBad);
    }
  } else {
    cli::complain(config::to_string(config.error()));
    return cli::kFailed;
  }
  if (options.json) {
    findings.print_json();
  } else {
    findings.print_text();
  }
  return findings.bad() ? cli::kFailed : cli::kDone;
}

}  // namespace

void add_check(cli::CommandLine& line) {
  const auto user = std::make_shared<std::string>();
  CLI::App& command = line.with_json(line.with_config(
      line.add("check", "Check whether a server would start with a configuration",
               [user](const cli::ClientOptions& options) { return check(options, *user); })));
  command.add_option("--user", *user,
                     "Check as this user; default, for root: the user of the systemd unit with "
                     "this configuration");
}

}  // namespace mc::server
