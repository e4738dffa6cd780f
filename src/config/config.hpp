// SPDX-License-Identifier: Apache-2.0
#pragma once
// Parses the configuration file: from TOML to one typed and wholly validated value, or to the list
// of all problems. A Config needs no further check. Its routes, pools and firewall rules only seed
// an empty database; after that the database decides (see control/). Pure, except load() and
// locate_server(), which read files; any thread.

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "config/problem.hpp"
#include "net/ip.hpp"
#include "net/socket_address.hpp"
#include "policy/listener_settings.hpp"
#include "policy/pool.hpp"
#include "policy/route.hpp"

namespace mc::config {

struct Listener {
  /// As written, such as ":443": the listener's name in logs, in status and in the admin API.
  std::string name;
  SocketAddress addr;
  /// Whether the listener starts although no interface has its address.
  bool freebind = false;
  policy::ListenerSettings settings;
  /// None where the listener only redirects.
  std::vector<policy::Route> routes;
};

/// Which addresses of a backend's name are taken.
enum class DnsFamily : std::uint8_t { kAny, kIpv4, kIpv6 };

/// How the names of backends are resolved.
struct Dns {
  /// Empty: those of /etc/resolv.conf.
  std::vector<SocketAddress> servers;
  std::chrono::milliseconds ttl_min = std::chrono::seconds(5);
  std::chrono::milliseconds ttl_max = std::chrono::minutes(5);
  DnsFamily family = DnsFamily::kAny;
};

struct Database {
  std::string path;
};

/// The admin API. At least one of `addr` and `socket` is set.
struct Grpc {
  /// For TCP. If it is set, so are the three files, for mutual TLS.
  std::optional<SocketAddress> addr;
  std::string tls_cert;
  std::string tls_key;
  std::string client_ca;
  /// The path of the Unix socket, or empty.
  std::string socket;
};

struct Firewall {
  /// Set if a country is blocked; else it may be empty.
  std::string geoip_db;
  std::vector<IpAddress> blocked_ips;
  std::vector<IpPrefix> blocked_cidrs;
  /// Two capital letters each.
  std::vector<std::string> blocked_countries;
  /// Whether a new rule also resets open connections of the clients that it covers.
  bool cut_established = false;
};

/// How bytes are moved: by splice(2) from the ring's thread, or by IORING_OP_SPLICE.
enum class Splice : std::uint8_t { kInline, kRing };

struct Proxy {
  /// 0: one for each CPU that the process may use.
  std::int64_t workers = 0;
  /// Whether each worker stays on one CPU.
  bool pin_workers = false;
  Splice splice = Splice::kInline;
  std::chrono::milliseconds hello_timeout = std::chrono::seconds(10);
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(5);
  /// Zero: no limit.
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
  std::chrono::milliseconds shutdown_timeout = std::chrono::seconds(30);
  /// How long connections may stay after another server has taken over. Zero: until they end.
  std::chrono::milliseconds drain_timeout{0};
  /// 0: as many as RLIMIT_NOFILE allows.
  std::int64_t max_connections = 0;
  /// The local addresses that backends are dialled from, in turn; none: the kernel chooses. Without
  /// any, the process may not call bind(2) once it has started.
  std::vector<IpAddress> sources;
};

/// Where Prometheus fetches metrics.
struct Metrics {
  SocketAddress addr;
  /// How many routes of each listener have metrics of their own: the first ones by name.
  std::int64_t routes_max = 1000;
};

struct Logging {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
};

struct Config {
  /// [[listeners]], at least one, then [[redirects]].
  std::vector<Listener> listeners;
  /// In the order of the file; each name once. Every pool that a route or a listener names is
  /// there.
  std::vector<policy::Pool> pools;
  Dns dns;
  Database database;
  /// Nothing: no admin API.
  std::optional<Grpc> grpc;
  Firewall firewall;
  Proxy proxy;
  Logging log;
  /// Nothing: no metrics are served.
  std::optional<Metrics> metrics;
};

/// A Config, or all problems, in the order of the file.
using Parsed = std::expected<Config, std::vector<Problem>>;

/// Whether the files that a configuration names (certificates, the GeoIP database) must be
/// readable. The server needs them; a command that calls the server does not, and may have no
/// permission to read the key.
enum class NamedFiles : std::uint8_t { kRequired, kIgnored };

/// Reads the file at `path`.
Parsed load(const std::string& path, NamedFiles files = NamedFiles::kRequired);

/// Where to reach the server of a configuration file, as far as the file has that, even if other
/// parts are wrong: an error in the file must not keep operators from the running server.
struct Whereabouts {
  std::optional<Grpc> grpc;
  std::string database_path;      // empty: not in the file
  std::vector<Problem> problems;  // of the whole file
};
Whereabouts locate_server(const std::string& path);

/// Reads the text of a file that problems call `name`.
Parsed load_from_text(std::string_view text, const std::string& name, NamedFiles files);

}  // namespace mc::config
