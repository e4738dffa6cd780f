// SPDX-License-Identifier: Apache-2.0
// mc-proxy server: how it starts. Sockets first, while the process may still bind low ports; then
// it gives up the privileges that it does not need; then the database, the rings, the admin API;
// last it accepts.

#include <fmt/ranges.h>
#include <sys/signalfd.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "admin/limits.hpp"
#include "admin/server.hpp"
#include "base/descriptor_limit.hpp"
#include "base/log.hpp"
#include "cli/complain.hpp"
#include "config/config.hpp"
#include "control/control.hpp"
#include "dns/limits.hpp"
#include "dns/resolver.hpp"
#include "health/checker.hpp"
#include "health/limits.hpp"
#include "lifecycle/confinement.hpp"
#include "lifecycle/inherited_sockets.hpp"
#include "lifecycle/keeper.hpp"
#include "lifecycle/notifier.hpp"
#include "lifecycle/predecessor.hpp"
#include "metrics/collector.hpp"
#include "metrics/endpoint.hpp"
#include "policy/limits.hpp"
#include "proxy/data_plane.hpp"
#include "proxy/limits.hpp"
#include "server/bound_sockets.hpp"
#include "server/commands.hpp"
#include "server/confinement_needs.hpp"
#include "server/host_limits.hpp"
#include "server/main_loop.hpp"
#include "server/name_answers.hpp"
#include "traffic/event_hub.hpp"

namespace mc::server {
namespace {

// Whether this process becomes the parent of the server (lifecycle/keeper.hpp).
enum class WithKeeper : std::uint8_t { kNo, kYes };

struct ServeOptions {
  std::string config_path;
  TakeOver take_over = TakeOver::kNo;
  WithKeeper keeper = WithKeeper::kNo;
};

// Here limits of rooms that do not include each other meet.
static_assert(dns::kAddressesMax == policy::kNameAddressesMax);
static_assert(admin::kLocalConnectionsMax + admin::kTcpConnectionsMax + health::kUnderWayMax <=
                  proxy::kDescriptorsReserved / 4 * 3,
              "the rest is for rings, listeners, the log, the database and snapshots");
static_assert(2 * admin::kConnectionCallsMax <= proxy::kSweepsMax,
              "the other half is for cuts by the firewall");

// Signals whose default ends a process and that mean nothing to a server (signal(7)): log rotation
// and monitors send SIGUSR1 and SIGUSR2 out of habit. SIGQUIT and SIGABRT stay: they request a
// core.
void ignore_stray_signals() {
  for (const int signal :
       {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT}) {
    std::signal(signal, SIG_IGN);
  }
}

// Blocked before any thread starts: all threads inherit that, and signals come through the
// descriptor alone.
Fd block_signals() {
  std::signal(SIGPIPE, SIG_IGN);  // splice(2) has no MSG_NOSIGNAL
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return Fd(::signalfd(-1, &signals, SFD_CLOEXEC));
}

std::uint64_t connections_max(const config::Config& config, std::uint64_t descriptors, Log& log) {
  const std::uint64_t fit = connections_that_fit(config, descriptors);
  if (config.proxy.max_connections == 0) return fit;
  const auto wanted = static_cast<std::uint64_t>(config.proxy.max_connections);
  if (wanted > fit) {
    log.warn(
        "max_connections is more than RLIMIT_NOFILE allows; accepting will pause when descriptors "
        "run out. "
        "Raise the limit (systemd: LimitNOFILE=)",
        {{"max_connections", wanted}, {"rlimit_nofile", descriptors}, {"fit", fit}});
  }
  return wanted;
}

admin::ServerOptions options_from(const config::Grpc& grpc) {
  return {.addr = grpc.addr,
          .certificates = {grpc.tls_cert, grpc.tls_key, grpc.client_ca},
          .socket = grpc.socket,
          .version = MC_PROXY_VERSION};
}

metrics::DrainingTotals totals_of(const std::vector<admin::DrainingServers::Server>& servers) {
  metrics::DrainingTotals totals{.servers = servers.size(), .connections = 0};
  for (const admin::DrainingServers::Server& server : servers) {
    if (server.status.has_value()) totals.connections += server.status->active_connections();
  }
  return totals;
}

metrics::CheckTotals totals_of(const health::Checker& checker) {
  return {.targets = checker.targets(),
          .passed = checker.passed(),
          .failed = checker.failed(),
          .lateness = checker.lateness()};
}

metrics::NameTotals totals_of(const dns::Resolver* resolver) {
  if (resolver == nullptr) return {};
  metrics::NameTotals totals{
      .answered = resolver->answers(), .failed = resolver->failures(), .names = {}};
  const Instant now = Clock::now();
  for (const dns::Status& status : resolver->status()) {
    metrics::NameTotals::Name& name = totals.names.emplace_back();
    name.name = status.name;
    name.is_failing = !status.failure.empty();
    if (!status.last_answer.has_value()) continue;
    name.answer_age =
        std::chrono::duration_cast<std::chrono::milliseconds>(now - *status.last_answer);
  }
  return totals;
}

dns::Settings settings_of(const config::Dns& dns) {
  dns::Settings settings;
  settings.servers = dns.servers;
  settings.ttl_min = dns.ttl_min;
  settings.ttl_max = dns.ttl_max;
  switch (dns.family) {
    case config::DnsFamily::kAny:
      settings.family = dns::Family::kAny;
      break;
    case config::DnsFamily::kIpv4:
      settings.family = dns::Family::kIpv4;
      break;
    case config::DnsFamily::kIpv6:
      settings.family = dns::Family::kIpv6;
      break;
  }
  return settings;
}

// `api` is null where the configuration has no [grpc], `resolver` where it could not be started.
// References outlive the endpoint.
Result<std::unique_ptr<metrics::Endpoint>> serve_metrics(
    Fd listener, const config::Metrics& settings, const control::Control& control,
    const traffic::LiveTraffic& traffic, const admin::Server* api,
    const admin::DrainingServers& draining, const health::Checker& checker,
    const dns::Resolver* resolver, std::uint64_t connections, const Log& log) {
  const auto collector = std::make_shared<const metrics::Collector>(metrics::Sources{
      .control = control,
      .traffic = traffic,
      .log = log,
      .version = MC_PROXY_VERSION,
      .connections_max = connections,
      .routes_max = static_cast<std::size_t>(settings.routes_max),
      .certificate_expiry =
          [api] { return api != nullptr ? api->certificate_expires_at() : std::nullopt; },
      .draining = [&draining] { return totals_of(draining.look()); },
      .checks = [&checker] { return totals_of(checker); },
      .names = [resolver] { return totals_of(resolver); }});
  return metrics::Endpoint::start(std::move(listener), [collector] { return collector->text(); });
}

// Where the server makes files: the database and its companions, the admin API's socket.
std::vector<std::string> directories_of(const config::Config& config) {
  std::vector<std::string> paths = {config.database.path};
  if (config.grpc.has_value() && !config.grpc->socket.empty()) paths.push_back(config.grpc->socket);
  for (std::string& path : paths) {
    std::error_code ignored;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(path, ignored);
    path = (whole.empty() ? std::filesystem::path(path) : whole).parent_path();
  }
  return paths;
}

// The parts of a server, from the first to the last session.
class Server final : private control::Enforcer {
 public:
  Server(const config::Config& config, BoundSockets& bound, lifecycle::KeeperLine keeper, Log& log)
      : config_(config),
        bound_(bound),
        log_(log),
        draining_(config.database.path, log),
        keeper_(std::move(keeper)),
        notifier_(keeper_.fd()),
        policy_(control::State().policy(), workers_of(config)) {}

  Result<void> start();
  Result<void> run(int signals, lifecycle::Confinement confinement);

 private:
  // For the changes that come while it serves.
  void cut(const std::shared_ptr<const policy::Firewall>& firewall) override {
    plane_->cut(firewall);
  }
  void cut_draining(const std::vector<control::Rule>& rules) override { draining_.cut(rules); }
  void published(const std::shared_ptr<const policy::LivePools>& pools) override {
    checker_->set_pools(pools);
    resolve_names_of(*pools);
  }
  void health_changed(const health::Change& change);

  Result<void> start_plane();
  Result<void> start_checks();
  void start_resolver();
  void resolve_names_of(const policy::LivePools& pools);
  void log_policy() const;
  Result<void> start_api();
  Result<void> start_metrics();
  Result<void> begin_to_serve();
  void store_sockets();
  void announce(const lifecycle::Confinement& confinement) const;

  const config::Config& config_;
  BoundSockets& bound_;
  Log& log_;
  const admin::DrainingServers draining_;
  lifecycle::KeeperLine keeper_;
  lifecycle::Notifier notifier_;
  std::uint64_t connections_ = 0;
  policy::PublishedPolicy policy_;
  std::unique_ptr<control::Control> control_;
  std::unique_ptr<proxy::DataPlane> plane_;
  std::unique_ptr<health::Checker> checker_;
  NameAnswers answers_;
  std::unique_ptr<dns::Resolver> resolver_;
  std::string no_resolver_;            // why there is none
  std::vector<std::string> resolved_;  // the names that it resolves
  std::unique_ptr<admin::Server> api_;
  std::unique_ptr<metrics::Endpoint> metrics_;
};

Result<void> Server::start() {
  if (bound_.predecessor != nullptr) {
    log_.info("taking over from the running server", {{"predecessor", bound_.predecessor->pid()}});
    auto released = bound_.predecessor->release_database();
    if (!released.has_value()) return released;
  }
  auto control = control::Control::open(config_, policy_, *this, log_);
  if (!control.has_value()) return std::unexpected(control.error());
  control_ = *std::move(control);
  if (auto started = start_plane(); !started.has_value()) return started;
  if (auto started = start_checks(); !started.has_value()) return started;
  start_resolver();
  log_policy();
  if (config_.grpc.has_value()) {
    if (auto started = start_api(); !started.has_value()) return started;
  }
  if (config_.metrics.has_value()) {
    if (auto started = start_metrics(); !started.has_value()) return started;
  }
  return control_->seed();
}

Result<void> Server::start_plane() {
  connections_ = connections_max(config_, raise_descriptor_limit(), log_);
  proxy::DataPlaneOptions options = plane_options(config_, connections_);
  options.inherited = std::move(bound_.listeners);
  auto plane = proxy::DataPlane::start(std::move(options), policy_, log_);
  if (!plane.has_value()) return std::unexpected(plane.error());
  plane_ = *std::move(plane);
  return {};
}

// Its ring is made now: the late confinement refuses new ones.
Result<void> Server::start_checks() {
  auto checker = health::Checker::start(
      {.log = log_, .on_change = [this](const health::Change& change) { health_changed(change); }});
  if (!checker.has_value()) return std::unexpected(checker.error());
  checker_ = *std::move(checker);
  checker_->set_pools(control_->state()->pools);
  return {};
}

// It serves without one too: with the addresses from the database, and those that need no name.
void Server::start_resolver() {
  auto resolver =
      dns::Resolver::start({.settings = settings_of(config_.dns),
                            .log = log_,
                            .on_answer =
                                [this](const std::string& name, const dns::Answer& answer) {
                                  control_->take_success(name);
                                  answers_.put(name, answer.addresses);
                                },
                            .on_failure =
                                [this](const std::string& name, const dns::Failure& failure) {
                                  control_->take_failure(name, failure.why);
                                }});
  if (resolver.has_value()) {
    resolver_ = *std::move(resolver);
  } else {
    no_resolver_ = resolver.error().message;
    log_.error("names of backends are not resolved until the next start",
               {{"error", no_resolver_}});
  }
  resolve_names_of(*control_->state()->pools);
}

// At the start, and then with the control plane's lock.
void Server::resolve_names_of(const policy::LivePools& pools) {
  std::vector<std::string> names = policy::names_of(pools);
  if (names == resolved_) return;
  resolved_ = std::move(names);
  if (resolver_ != nullptr) {
    resolver_->set_names(resolved_);
  } else {
    for (const std::string& name : resolved_) control_->take_failure(name, no_resolver_);
  }
}

// On the checker's thread.
void Server::health_changed(const health::Change& change) {
  traffic::EventSource events(plane_->events());
  if (events.wants(traffic::EventKind::kBackendHealth)) {
    events.emit(
        {.kind = traffic::EventKind::kBackendHealth,
         .connection = {.pool = change.backend->pool(), .backend = change.backend->address()},
         .health = change.after,
         .why = change.why});
  }
  while (!events.flush()) std::this_thread::yield();
  if (health::calls_for_reset(change, Clock::now())) plane_->cut(change.backend);
}

void Server::log_policy() const {
  const auto state = control_->state();
  std::size_t routes = 0;
  for (const policy::RouteTable& table : state->routes) routes += table.size();
  log_.info("policy in force", {{"database", control_->database_path()},
                                {"revision", state->revision},
                                {"routes", routes},
                                {"rules", state->rules->size()}});
}

Result<void> Server::start_api() {
  admin::ServerOptions options = options_from(*config_.grpc);
  options.inherited_tcp = std::move(bound_.api_tcp);
  options.inherited_local = std::move(bound_.api_local);
  options.draining = &draining_;
  auto api = admin::Server::start(std::move(options), *control_, *plane_, log_);
  if (!api.has_value()) return std::unexpected(api.error());
  api_ = *std::move(api);
  return {};
}

Result<void> Server::start_metrics() {
  auto started =
      serve_metrics(std::move(bound_.metrics), *config_.metrics, *control_, *plane_, api_.get(),
                    draining_, *checker_, resolver_.get(), connections_, log_);
  if (!started.has_value()) return std::unexpected(started.error());
  metrics_ = *std::move(started);
  return {};
}

Result<void> Server::run(int signals, lifecycle::Confinement confinement) {
  MainLoop loop({config_, *control_, *plane_, *checker_, answers_, resolver_, api_, metrics_,
                 draining_, notifier_, keeper_, confinement, log_});
  if (auto serves = begin_to_serve(); !serves.has_value()) return serves;
  // It serves already, and must not end for this error.
  if (const auto waits = loop.await_successors(); !waits.has_value()) {
    log_.error("no successor will find this server", {{"error", waits.error().message}});
  }
  lifecycle::confine_late(confinement, confinement_needs(config_));
  // An unrestricted ring does not exist: create() fails instead.
  confinement.rings = allowed_on_rings();
  announce(confinement);
  notifier_.ready();
  loop.run(signals);
  return {};
}

Result<void> Server::begin_to_serve() {
  const auto& predecessor = bound_.predecessor;
  if (predecessor != nullptr) {
    if (auto stopped = predecessor->stop_accepting(); !stopped.has_value()) return stopped;
    if (auto down = predecessor->step_down(); !down.has_value()) return down;
  }
  plane_->open();
  bound_.predecessor.reset();
  if (api_ != nullptr) {
    api_->own();
    api_->tick();  // sets the health service before the log says "serving"
  }
  store_sockets();
  return {};
}

// For the next server after a crash. Removes what the unit still holds of listeners that are no
// longer configured: their clients are refused, not left waiting.
void Server::store_sockets() {
  std::vector<lifecycle::StoredSocket> sockets;
  for (const proxy::ListeningSocket& socket : plane_->sockets()) {
    sockets.push_back({socket.fd.get(), config_.listeners[socket.listener].addr});
  }
  notifier_.store(sockets);
  for (const SocketAddress& address : bound_.inherited.tcp_addresses()) {
    log_.info("a listener is no longer configured", {{"listener", address.to_string()}});
    notifier_.forget(address);
  }
  bound_.inherited = {};
}

void Server::announce(const lifecycle::Confinement& confinement) const {
  std::vector<std::string> names;
  for (const config::Listener& listener : config_.listeners) names.push_back(listener.name);
  std::vector<std::string> apis;
  if (api_ != nullptr && api_->tcp_address()) apis.push_back(api_->tcp_address()->to_string());
  if (config_.grpc && !config_.grpc->socket.empty()) apis.push_back(config_.grpc->socket);
  log_.info("confined", {{"capabilities", confinement.capabilities},
                         {"landlock", confinement.landlock},
                         {"seccomp", confinement.seccomp},
                         {"rings", confinement.rings}});
  log_.info("serving",
            {{"version", "v" MC_PROXY_VERSION},
             {"listeners", fmt::format("{}", fmt::join(names, ","))},
             {"admin", fmt::format("{}", fmt::join(apis, ","))},
             {"metrics", metrics_ != nullptr ? metrics_->address().to_string() : ""},
             {"workers", workers_of(config_)},
             {"splice", config_.proxy.splice == config::Splice::kRing ? "ring" : "inline"},
             {"max_connections", connections_}});
}

int run_server(const ServeOptions& options, lifecycle::InheritedSockets inherited,
               lifecycle::KeeperLine keeper) {
  const config::Parsed config = config::load(options.config_path);
  if (!config.has_value()) {
    cli::complain(config::to_string(config.error()));
    return cli::kMisconfigured;
  }
  BoundSockets bound;
  bound.inherited = std::move(inherited);
  Result<void> done = bind_all(*config, options.take_over, bound);
  lifecycle::Confinement confinement = lifecycle::confine_early(directories_of(*config));
  const Fd signals = block_signals();
  Log log({.level = config->log.level, .format = config->log.format});
  Server server(*config, bound, std::move(keeper), log);
  if (done.has_value()) done = server.start();
  if (done.has_value()) done = server.run(signals.get(), confinement);
  if (done.has_value()) return cli::kDone;
  log.error("not started", {{"error", done.error().message}});
  return cli::kFailed;
}

// Serves until a signal ends it. SIGTERM, SIGINT: no new connections, open ones have
// shutdown_timeout; a second one: at once. SIGHUP: reads the GeoIP database again.
int serve(const ServeOptions& options) {
  ignore_stray_signals();  // in the keeper too
  auto inherited = lifecycle::InheritedSockets::from_systemd();
  if (options.keeper == WithKeeper::kNo) return run_server(options, std::move(inherited), {});
  auto kept = lifecycle::keep(inherited);
  if (const int* const code = std::get_if<int>(&kept)) return *code;
  return run_server(options, std::move(inherited),
                    std::get<lifecycle::KeeperLine>(std::move(kept)));
}

}  // namespace

void add_server(cli::CommandLine& line) {
  const auto words = std::make_shared<ServeOptions>();
  CLI::App& command = line.with_config(line.add("server", "Serve until SIGTERM or SIGINT",
                                                [words](const cli::ClientOptions& options) {
                                                  words->config_path = options.config_path;
                                                  return serve(*words);
                                                }));
  command.add_flag_callback(
      "--take-over", [words] { words->take_over = TakeOver::kYes; },
      "Replace the server that runs with this database: take over its listeners; it finishes its "
      "connections");
  command.add_flag_callback(
      "--keeper",
      [words] {
        words->take_over = TakeOver::kYes;
        words->keeper = WithKeeper::kYes;
      },
      "Like --take-over, with a parent process for systemd, so that a restart of the unit is a "
      "take-over");
}

}  // namespace mc::server
