// SPDX-License-Identifier: Apache-2.0
#include "config/config.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "base/fd.hpp"
#include "base/quote.hpp"
#include "config/dns.hpp"
#include "config/limits.hpp"
#include "config/listener_settings.hpp"
#include "config/pools.hpp"
#include "config/read_tree.hpp"
#include "config/routes.hpp"
#include "config/rules.hpp"
#include "config/section.hpp"
#include "config/toml.hpp"
#include "config/values.hpp"

namespace mc::config {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kRootKeys[] = {"listeners", "redirects", "pools", "dns", "database",
                                          "grpc",      "firewall",  "proxy", "log", "metrics"};
constexpr std::string_view kDatabaseKeys[] = {"path"};
constexpr std::string_view kGrpcKeys[] = {"addr", "tls_cert", "tls_key", "client_ca", "socket"};
constexpr std::string_view kFirewallKeys[] = {"geoip_db", "blocked_ips", "blocked_cidrs",
                                              "blocked_countries", "cut_established"};
constexpr std::string_view kProxyKeys[] = {
    "workers",      "pin_workers",      "splice",        "hello_timeout",   "connect_timeout",
    "idle_timeout", "shutdown_timeout", "drain_timeout", "max_connections", "sources"};
constexpr std::string_view kLogKeys[] = {"level", "format"};
constexpr std::string_view kMetricsKeys[] = {"addr", "routes_max"};

/// Why the file cannot be read, or nothing if it can.
std::optional<std::string> unreadable(const std::string& path) {
  // O_NONBLOCK: otherwise opening a FIFO would wait for a writer.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0) return std::strerror(errno);
  if (!S_ISREG(status.st_mode)) return "it is not a regular file";
  return std::nullopt;
}

/// Reads a configuration from its tree, once. The result is valid only if there was no problem.
class Reader {
 public:
  Reader(NamedFiles files, Problems& problems) : files_(files), problems_(problems) {}

  Config read(const TomlValue& tree) {
    const Section root(tree, "", kRootKeys, problems_);
    read_proxy(root);
    pools_ = read_pools(root, problems_);
    read_listeners(root);
    finish_pools();
    config_.dns = read_dns(root, problems_);
    read_database(root);
    read_grpc(root);
    read_firewall(root);
    read_log(root);
    read_metrics(root);
    return std::move(config_);
  }

 private:
  void read_listeners(const Section& root);
  void read_settings(const std::vector<Section>& sections, std::size_t listeners);
  void read_listener_addr(const Section& section);
  void read_routes(const Section& section, Listener& listener);
  /// Adds a problem if connections to the backend would reach a listener. Returns whether they do.
  bool refuse_loop(const BackendAddress& backend, const Node& place);
  /// Adds a problem if the file has no such pool.
  void require_pool(std::string_view name, const Node& place);
  /// Notes that the route leads to its pool; a problem if there is no such pool.
  void use_pool(const policy::RouteText& text, const Node& place);
  void finish_pools();
  void read_database(const Section& root);
  void read_grpc(const Section& root);
  void read_grpc_addr(const Section& section, const Node& place, Grpc& grpc);
  void read_firewall(const Section& root);
  void read_proxy(const Section& root);
  void read_log(const Section& root);
  void read_metrics(const Section& root);

  /// The path under the key: any that the system accepts, but not an empty one.
  std::optional<Node> read_path(const Section& section, std::string_view key,
                                std::string_view example, std::string& target);
  /// Adds a problem if the file that the value names cannot be read, with NamedFiles::kRequired.
  void check_readable(const Node& place, std::string_view purpose);
  /// Adds a problem if one of the listeners read so far satisfies the predicate.
  template <class Predicate>
  void refuse_taken(const Node& place, Predicate is_taken_by);

  const NamedFiles files_;
  Problems& problems_;
  Config config_;
  std::vector<Position> listener_positions_;  // of the addr of each of config_.listeners
  std::vector<PoolInFile> pools_;
  /// By pool: the exact host names of the routes that lead to it.
  std::map<std::string, std::set<std::string>> hostnames_of_;
};

void Reader::read_listeners(const Section& root) {
  const std::size_t problems_before = problems_.size();
  const std::vector<Node> listeners = root.tables("listeners");
  if (listeners.empty() && problems_.size() == problems_before) {
    problems_.add(
        kWholeFile, "listeners",
        "at least one listener is required; write [[listeners]] and under it addr = \":443\"");
  }
  const std::vector<Node> redirects = root.tables("redirects");
  std::vector<Section> sections;
  sections.reserve(listeners.size() + redirects.size());
  for (const Node& table : listeners) {
    sections.emplace_back(*table.value, table.path, kListenerKeys, problems_);
  }
  for (const Node& table : redirects) {
    sections.emplace_back(*table.value, table.path, kRedirectKeys, problems_);
  }
  if (sections.size() > kListenersMax) {
    problems_.add(sections[kListenersMax].position(), "listeners",
                  fmt::format("listeners: with redirects there are {}, but at most {} are possible",
                              sections.size(), kListenersMax));
    return;
  }
  // All addresses first: a route may lead back to a listener that comes after it.
  for (const Section& section : sections) read_listener_addr(section);
  read_settings(sections, listeners.size());
  for (std::size_t i = 0; i < listeners.size(); ++i) read_routes(sections[i], config_.listeners[i]);
}

/// The first of the sections are those of [[listeners]].
void Reader::read_settings(const std::vector<Section>& sections, std::size_t listeners) {
  std::vector<Node> pools;
  const std::span<const Listener> routed(config_.listeners.data(), listeners);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    Listener& listener = config_.listeners[i];
    listener.settings = i < listeners
                            ? read_listener_settings(sections[i], config_.proxy, pools, problems_)
                            : read_redirect_settings(sections[i], config_.proxy, listener.addr,
                                                     routed, pools, problems_);
  }
  for (const Node& place : pools) require_pool(place.value->text, place);
}

void Reader::read_listener_addr(const Section& section) {
  Listener listener;
  Position position = section.position();
  if (const auto place = section.require("addr", TomlType::kString, "\":443\"")) {
    position = place->value->position;
    if (const auto addr = parse_with(SocketAddress::parse_listen, *place, problems_)) {
      listener.name = place->value->text;
      listener.addr = *addr;
      refuse_taken(*place, [&](const Listener& other) {
        // Port 0 never collides, but two listeners need different names.
        return collide(*addr, other.addr) || listener.name == other.name;
      });
    }
  }
  section.read_boolean("freebind", listener.freebind);
  config_.listeners.push_back(std::move(listener));
  listener_positions_.push_back(position);
}

template <class Predicate>
void Reader::refuse_taken(const Node& place, Predicate is_taken_by) {
  const auto other = std::ranges::find_if(config_.listeners, is_taken_by);
  if (other == config_.listeners.end()) return;
  const auto index = static_cast<std::size_t>(other - config_.listeners.begin());
  problems_.add(*place.value, place.path,
                fmt::format("the listener on line {} has this address already; write another",
                            listener_positions_[index].line));
}

void Reader::read_routes(const Section& section, Listener& listener) {
  RoutesSeen seen;
  for (const Node& table : section.tables("routes")) {
    const RouteInFile read = read_route(table, problems_);
    auto route = finish_route(read, problems_);
    const BackendAddress* const backend = route ? route->backend() : nullptr;
    if (backend != nullptr && refuse_loop(*backend, read.places.at("backend"))) route.reset();
    if (const auto pool = read.places.find("pool"); pool != read.places.end()) {
      use_pool(read.text, pool->second);
    }
    // Also where another field of the route is wrong.
    if (seen.admit(read, problems_) && route) listener.routes.push_back(*std::move(route));
  }
}

bool Reader::refuse_loop(const BackendAddress& backend, const Node& place) {
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    if (!leads_back(backend, config_.listeners[i].addr)) continue;
    problems_.add(*place.value, place.path,
                  fmt::format("this is the listener on line {}: the proxy would connect to itself "
                              "without end; write where the service listens",
                              listener_positions_[i].line));
    return true;
  }
  return false;
}

void Reader::require_pool(std::string_view name, const Node& place) {
  const bool is_there =
      std::ranges::any_of(pools_, [&](const PoolInFile& pool) { return pool.text.name == name; });
  if (is_there) return;
  problems_.add(*place.value, place.path,
                fmt::format("the file has no such pool; write [[pools]] and under it name = {}",
                            quote(name)));
}

void Reader::use_pool(const policy::RouteText& text, const Node& place) {
  const auto name = policy::parse_pool_name(text.pool);
  if (!name) {
    // Otherwise read_route() has reported it.
    if (text.pool.empty()) problems_.add(*place.value, place.path, name.error());
    return;
  }
  require_pool(*name, place);
  const auto pattern = policy::parse_hostname(text.hostname);
  if (!pattern || pattern->kind() != policy::PatternKind::kExact) return;
  hostnames_of_[*name].insert(pattern->text());
}

void Reader::finish_pools() {
  for (const PoolInFile& read : pools_) {
    auto pool = finish_pool(read, hostnames_of_[read.text.name], problems_);
    if (!pool) continue;
    for (std::size_t i = 0; i < pool->backends.size(); ++i) {
      refuse_loop(pool->backends[i].address, *read.find(i, "address"));
    }
    config_.pools.push_back(*std::move(pool));
  }
}

std::optional<Node> Reader::read_path(const Section& section, std::string_view key,
                                      std::string_view example, std::string& target) {
  const auto place = section.get(key, TomlType::kString, example);
  if (!place) return std::nullopt;
  const std::string& text = place->value->text;
  if (text.empty()) {
    problems_.add(*place->value, place->path,
                  fmt::format("{} is required; write {} = {}", place->path, key, example));
    return std::nullopt;
  }
  if (text.contains('\0')) {
    problems_.add(*place->value, place->path, "no path can contain the character U+0000");
    return std::nullopt;
  }
  target = text;
  return place;
}

void Reader::check_readable(const Node& place, std::string_view purpose) {
  if (files_ == NamedFiles::kIgnored) return;
  const auto reason = unreadable(place.value->text);
  if (!reason) return;
  problems_.add(*place.value, place.path, fmt::format("{} cannot be read: {}", purpose, *reason));
}

void Reader::read_database(const Section& root) {
  constexpr std::string_view kExample = "\"/srv/mc-proxy/mc-proxy.db\"";
  const auto table = root.table("database");
  if (!table) {
    if (root.has("database")) return;
    problems_.add(kWholeFile, "database.path",
                  fmt::format("database.path is required; write [database] and under it path = {}",
                              kExample));
    return;
  }
  const Section section(*table->value, table->path, kDatabaseKeys, problems_);
  if (!section.require("path", TomlType::kString, kExample)) return;
  const auto path = read_path(section, "path", kExample, config_.database.path);
  if (path && !config_.database.path.starts_with('/')) {
    problems_.add(*path->value, path->path,
                  fmt::format("the path is relative, and each program would look for it in another "
                              "folder; write one like {}",
                              kExample));
  }
}

void Reader::read_grpc(const Section& root) {
  const auto table = root.table("grpc");
  if (!table) return;
  const Section section(*table->value, table->path, kGrpcKeys, problems_);
  Grpc& grpc = config_.grpc.emplace();
  constexpr std::string_view kSocketExample = "\"/run/mc-proxy/admin.sock\"";
  const auto socket = read_path(section, "socket", kSocketExample, grpc.socket);
  if (socket && !grpc.socket.starts_with('/')) {
    problems_.add(
        *socket->value, socket->path,
        fmt::format("the path is relative, and the command line would look for it elsewhere; "
                    "write one like {}",
                    kSocketExample));
  } else if (socket && grpc.socket.size() > kSocketPathBytesMax) {
    problems_.add(*socket->value, socket->path,
                  fmt::format("the path of a Unix socket has at most {} bytes, this has {}",
                              kSocketPathBytesMax, grpc.socket.size()));
  }

  if (const auto addr = section.get("addr", TomlType::kString, "\"127.0.0.1:9090\"")) {
    read_grpc_addr(section, *addr, grpc);
  } else if (!section.has("addr") && !section.has("socket")) {
    problems_.add(section.position(), "grpc",
                  fmt::format("grpc: neither addr nor socket is given; write socket = {}, or leave "
                              "out [grpc] for no admin API",
                              kSocketExample));
  }
}

void Reader::read_grpc_addr(const Section& section, const Node& place, Grpc& grpc) {
  const std::string& text = place.value->text;
  if (text.starts_with('/') || text.starts_with("unix:")) {
    problems_.add(*place.value, place.path,
                  "a Unix socket has a key of its own; write it as socket");
    return;
  }
  if (const auto addr = parse_with(SocketAddress::parse_listen, place, problems_)) {
    refuse_taken(place, [&](const Listener& other) { return collide(*addr, other.addr); });
    grpc.addr = *addr;
  }

  struct File {
    std::string_view key, example, purpose;
    std::string& target;
  };
  const File files[] = {
      {"tls_cert", "\"/srv/mc-proxy/certs/cert.pem\"", "the certificate", grpc.tls_cert},
      {"tls_key", "\"/srv/mc-proxy/certs/key.pem\"", "the key", grpc.tls_key},
      {"client_ca", "\"/srv/mc-proxy/certs/ca.pem\"", "the CA's certificate", grpc.client_ca},
  };
  for (const File& file : files) {
    if (!section.has(file.key)) {
      const std::string path = section.path_of(file.key);
      problems_.add(
          place.value->position, path,
          fmt::format("{} is required: over TCP the admin API needs mutual TLS; write {} = "
                      "{}, or use socket instead of addr",
                      path, file.key, file.example));
    } else if (const auto named = read_path(section, file.key, file.example, file.target)) {
      check_readable(*named, file.purpose);
    }
  }
}

void Reader::read_firewall(const Section& root) {
  const auto table = root.table("firewall");
  if (!table) return;
  const Section section(*table->value, table->path, kFirewallKeys, problems_);
  Firewall& firewall = config_.firewall;
  firewall.blocked_ips =
      read_set(section, "blocked_ips", "\"203.0.113.50\"", parse_blocked_ip, problems_);
  firewall.blocked_cidrs =
      read_set(section, "blocked_cidrs", "\"198.51.100.0/24\"", parse_blocked_cidr, problems_);
  firewall.blocked_countries =
      read_set(section, "blocked_countries", "\"RU\"", parse_blocked_country, problems_);
  section.read_boolean("cut_established", firewall.cut_established);

  constexpr std::string_view kExample = "\"/srv/mc-proxy/GeoLite2-Country.mmdb\"";
  const auto geoip_db = read_path(section, "geoip_db", kExample, firewall.geoip_db);
  if (firewall.blocked_countries.empty()) return;
  if (geoip_db) {
    check_readable(*geoip_db, "firewall: geoip_db is required by blocked_countries, but it");
  } else if (!section.has("geoip_db")) {
    const auto rules = section.get("blocked_countries", TomlType::kArray, "");
    problems_.add(rules->value->position, "firewall.geoip_db",
                  fmt::format("firewall: geoip_db is required: blocked_countries needs a database "
                              "of countries; write geoip_db = {}",
                              kExample));
  }
}

void Reader::read_proxy(const Section& root) {
  const auto table = root.table("proxy");
  if (!table) return;
  const Section section(*table->value, table->path, kProxyKeys, problems_);
  Proxy& proxy = config_.proxy;
  section.read_integer("workers", 0, kWorkersMax, proxy.workers);
  section.read_boolean("pin_workers", proxy.pin_workers);
  section.read_choice<Splice>("splice", {{"inline", Splice::kInline}, {"ring", Splice::kRing}},
                              proxy.splice);
  section.read_duration("hello_timeout", 1ms, kTimeoutMax, proxy.hello_timeout);
  section.read_duration("connect_timeout", 1ms, kTimeoutMax, proxy.connect_timeout);
  section.read_duration("idle_timeout", 0ms, kTimeoutMax, proxy.idle_timeout);
  section.read_duration("shutdown_timeout", 1ms, kTimeoutMax, proxy.shutdown_timeout);
  section.read_duration("drain_timeout", 0ms, kTimeoutMax, proxy.drain_timeout);
  section.read_integer("max_connections", 0, kConnectionsMax, proxy.max_connections);
  proxy.sources = read_set(section, "sources", "\"192.0.2.1\"", parse_source, problems_);
  if (proxy.sources.size() > kSourcesMax) {
    problems_.add(section.position(), section.path_of("sources"),
                  fmt::format("{}: there are {}, but at most {} are possible",
                              section.path_of("sources"), proxy.sources.size(), kSourcesMax));
  }
}

void Reader::read_log(const Section& root) {
  const auto table = root.table("log");
  if (!table) return;
  const Section section(*table->value, table->path, kLogKeys, problems_);
  section.read_choice<LogLevel>("level",
                                {{"debug", LogLevel::kDebug},
                                 {"info", LogLevel::kInfo},
                                 {"warn", LogLevel::kWarn},
                                 {"error", LogLevel::kError}},
                                config_.log.level);
  section.read_choice<LogFormat>("format", {{"text", LogFormat::kText}, {"json", LogFormat::kJson}},
                                 config_.log.format);
}

void Reader::read_metrics(const Section& root) {
  const auto table = root.table("metrics");
  if (!table) return;
  const Section section(*table->value, table->path, kMetricsKeys, problems_);
  Metrics metrics;
  section.read_integer("routes_max", 0, kMetricsRoutesMax, metrics.routes_max);
  const auto place = section.require("addr", TomlType::kString, "\"127.0.0.1:19100\"");
  if (!place) return;
  const auto addr = parse_with(SocketAddress::parse_listen, *place, problems_);
  if (!addr) return;
  refuse_taken(*place, [&](const Listener& other) { return collide(*addr, other.addr); });
  if (config_.grpc && config_.grpc->addr && collide(*addr, *config_.grpc->addr)) {
    problems_.add(*place->value, place->path, "grpc.addr has this address already; write another");
  }
  metrics.addr = *addr;
  config_.metrics = metrics;
}

}  // namespace

Config read_tree(const TomlValue& tree, NamedFiles files, Problems& problems) {
  return Reader(files, problems).read(tree);
}

Parsed load_from_text(std::string_view text, const std::string& name, NamedFiles files) {
  Problems problems(name);
  const auto tree = parse_toml(text);
  if (!tree) {
    problems.add(tree.error().position, "", tree.error().message);
  } else if (tree->entries.empty()) {
    problems.add(
        kWholeFile, "",
        "the file holds no settings; database.path is required, and at least one listener: "
        "see mc-proxy.toml.example");
  } else {
    Config config = read_tree(*tree, files, problems);
    if (problems.size() == 0) return config;
  }
  return std::unexpected(std::move(problems).sorted());
}

}  // namespace mc::config
