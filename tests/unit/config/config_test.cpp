// SPDX-License-Identifier: Apache-2.0
#include "config/config.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include "config/limits.hpp"
#include "policy/limits.hpp"
#include "support/as_user.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace std::chrono_literals;
using mc::LogFormat;
using mc::LogLevel;
using mc::config::Config;
using mc::config::load;
using mc::config::load_from_text;
using mc::config::NamedFiles;
using mc::config::Parsed;
using mc::config::Splice;

namespace {

constexpr std::string_view kDatabase = "[database]\npath = \"/db\"\n";
constexpr std::string_view kListener = "[[listeners]]\naddr = \":443\"\n";

/// The result of reading a file of these parts; files that it names need not exist.
template <class... Parts>
Parsed parsed(const Parts&... parts) {
  return load_from_text((std::string() + ... + std::string(parts)), "test.toml",
                        NamedFiles::kIgnored);
}

template <class... Parts>
Config config(const Parts&... parts) {
  const Parsed result = parsed(parts...);
  if (!result) UNSCOPED_INFO(to_string(result.error()));
  REQUIRE(result.has_value());
  return *result;
}

/// The problems as they are printed, one line each, without the file's name.
template <class... Parts>
std::vector<std::string> problems(const Parts&... parts) {
  const Parsed result = parsed(parts...);
  REQUIRE_FALSE(result.has_value());
  constexpr std::string_view kName = "test.toml:";
  std::vector<std::string> lines;
  for (const auto& problem : result.error()) {
    const std::string line = problem.to_string();
    REQUIRE(line.starts_with(kName));
    lines.push_back(line.substr(kName.size()));
  }
  return lines;
}

/// The only problem.
template <class... Parts>
std::string problem(const Parts&... parts) {
  const auto lines = problems(parts...);
  for (const auto& line : lines) UNSCOPED_INFO(line);
  REQUIRE(lines.size() == 1);
  return lines[0];
}

/// The only problem of a file with this section, without its place.
std::string problem_in(std::string_view section) {
  const std::string line = problem(section, "\n", kDatabase, kListener);
  return line.substr(line.find(' ') + 1);
}

std::string route(std::string_view hostname, std::string_view backend = "127.0.0.1:1") {
  return "[[listeners.routes]]\nhostname = \"" + std::string(hostname) + "\"\nbackend = \"" +
         std::string(backend) + "\"\n";
}

std::string write(const mc::test::TempDir& directory, std::string_view name,
                  std::string_view text) {
  mc::test::write_file(directory.file(name), text);
  return directory.file(name);
}

std::string load_error(const std::string& path) {
  const Parsed result = load(path);
  REQUIRE_FALSE(result.has_value());
  return to_string(result.error());
}

}  // namespace

TEST_CASE("The smallest configuration has defaults for everything else") {
  const Config c = config(kDatabase, kListener);
  CHECK(c.database.path == "/db");
  REQUIRE(c.listeners.size() == 1);
  CHECK(c.listeners[0].name == ":443");
  CHECK(c.listeners[0].addr.to_string() == "[::]:443");
  CHECK(c.listeners[0].routes.empty());
  CHECK_FALSE(c.grpc.has_value());
  CHECK(c.firewall.blocked_ips.empty());
  CHECK(c.proxy.workers == 0);
  CHECK(!c.proxy.pin_workers);
  CHECK(c.proxy.splice == Splice::kInline);
  CHECK(c.proxy.hello_timeout == 10s);
  CHECK(c.proxy.connect_timeout == 5s);
  CHECK(c.proxy.idle_timeout == 5min);
  CHECK(c.proxy.drain_timeout == 0ms);
  CHECK(c.proxy.shutdown_timeout == 30s);
  CHECK(c.proxy.max_connections == 0);
  CHECK(c.log.level == LogLevel::kInfo);
  CHECK(c.log.format == LogFormat::kText);
}

TEST_CASE("A full configuration is read into typed values") {
  const Config c = config(R"(
[[listeners]]
addr = ":443"
  [[listeners.routes]]
  hostname = "App.Example.COM."
  backend = "127.0.0.1:18443"
  [[listeners.routes]]
  hostname = "*.Example.com"
  backend = "[2001:db8::1]:443"
  [[listeners.routes]]
  hostname = "*"
  backend = "127.0.0.1:1"
[[listeners]]
addr = "[::1]:8443"

[database]
path = "/srv/mc-proxy/mc-proxy.db"

[grpc]
addr = "127.0.0.1:9090"
tls_cert = "/c"
tls_key = "/k"
client_ca = "/a"
socket = "/run/mc-proxy/admin.sock"

[firewall]
geoip_db = "/g"
blocked_ips = ["203.0.113.50", "2001:db8::1"]
blocked_cidrs = ["198.51.100.0/24", "::ffff:10.0.0.0/104"]
blocked_countries = ["ru", "XK"]
cut_established = true

[proxy]
workers = 4
pin_workers = true
splice = "ring"
hello_timeout = "1m"
connect_timeout = "250ms"
idle_timeout = "0s"
shutdown_timeout = "1.5s"
drain_timeout = "1h"
max_connections = 1000

[log]
level = "debug"
format = "json"

[metrics]
addr = "127.0.0.1:9100"
routes_max = 20
)");
  REQUIRE(c.listeners.size() == 2);
  const auto& routes = c.listeners[0].routes;
  REQUIRE(routes.size() == 3);
  CHECK(routes[0].pattern.text() == "app.example.com");
  CHECK(routes[0].backend()->to_string() == "127.0.0.1:18443");
  CHECK(routes[1].pattern.text() == "*.example.com");
  CHECK(routes[1].backend()->to_string() == "[2001:db8::1]:443");
  CHECK(routes[2].pattern.text() == "*");
  CHECK(c.listeners[1].name == "[::1]:8443");

  REQUIRE(c.grpc.has_value());
  CHECK(c.grpc->addr.value().to_string() == "127.0.0.1:9090");
  CHECK(c.grpc->tls_cert == "/c");
  CHECK(c.grpc->tls_key == "/k");
  CHECK(c.grpc->client_ca == "/a");
  CHECK(c.grpc->socket == "/run/mc-proxy/admin.sock");

  CHECK(c.firewall.geoip_db == "/g");
  REQUIRE(c.firewall.blocked_ips.size() == 2);
  CHECK(c.firewall.blocked_ips[1].to_string() == "2001:db8::1");
  REQUIRE(c.firewall.blocked_cidrs.size() == 2);
  CHECK(c.firewall.blocked_cidrs[1].to_string() == "10.0.0.0/8");
  CHECK(c.firewall.blocked_countries == std::vector<std::string>{"RU", "XK"});
  CHECK(c.firewall.cut_established);

  CHECK(c.proxy.workers == 4);
  CHECK(c.proxy.pin_workers);
  CHECK(c.proxy.splice == Splice::kRing);
  CHECK(c.proxy.hello_timeout == 1min);
  CHECK(c.proxy.connect_timeout == 250ms);
  CHECK(c.proxy.idle_timeout == 0ms);
  CHECK(c.proxy.shutdown_timeout == 1500ms);
  CHECK(c.proxy.drain_timeout == 1h);
  CHECK(c.proxy.max_connections == 1000);
  CHECK(c.log.level == LogLevel::kDebug);
  CHECK(c.log.format == LogFormat::kJson);
  REQUIRE(c.metrics.has_value());
  CHECK(c.metrics->addr.to_string() == "127.0.0.1:9100");
  CHECK(c.metrics->routes_max == 20);
}

TEST_CASE("Metrics are served where the configuration says, and else nowhere") {
  CHECK_FALSE(config(kDatabase, kListener).metrics.has_value());
  const Config c = config("[metrics]\naddr = \":9100\"\n", kDatabase, kListener);
  REQUIRE(c.metrics.has_value());
  CHECK(c.metrics->routes_max == 1000);
  CHECK(problem_in("[metrics]").contains("metrics.addr is required"));
  CHECK(problem_in("[metrics]\naddr = 9100").contains("metrics.addr"));
  CHECK(problem_in("[metrics]\naddr = \"localhost\"").contains("metrics.addr = \"localhost\""));
  CHECK(problem_in("[metrics]\naddr = \":9100\"\nroutes = 1").contains("did you mean"));
  CHECK(problem_in("[metrics]\naddr = \":9100\"\nroutes_max = 10001")
            .contains("out of range; write a number from 0 to 10000"));
}

TEST_CASE("Metrics cannot be served where something else listens") {
  CHECK(problem_in("[metrics]\naddr = \":443\"")
            .contains("the listener on line 6 has this address already"));
  CHECK(
      problem("[grpc]\naddr = \":9090\"\ntls_cert = \"/c\"\ntls_key = \"/k\"\nclient_ca = \"/a\"\n",
              "[metrics]\naddr = \":9090\"\n", kDatabase, kListener)
          .contains("grpc.addr has this address already"));
}

TEST_CASE("All problems are told at once, in the order of the file") {
  const auto lines = problems(R"([[listeners]]
addr = ":443"
  [[listeners.routes]]
  hostname = "ok.example.com"
  backend = "127.0.0.1"
[log]
level = "loud"
[proxy]
workers = -1
)");
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].starts_with(" database.path is required; write [database] and under it path = "));
  CHECK(lines[1] == R"(5:13: listeners[0].routes[0].backend = "127.0.0.1": the port is missing; )"
                    R"(write "127.0.0.1:443")");
  CHECK(lines[2] == R"(7:9: log.level = "loud": not one of the choices; )"
                    R"(write "debug" or "info" or "warn" or "error")");
  CHECK(lines[3] == "9:11: proxy.workers = -1: out of range; write a number from 0 to 1024");
}

TEST_CASE("The texts that operators look for are there") {
  CHECK(problem(kListener).contains("database.path is required"));
  CHECK(problem(kListener, "[database]\n").contains("database.path is required"));
  CHECK(problem(kListener, "[database]\npath = \"\"\n").contains("database.path is required"));
  CHECK(problem(kListener, "[database]\npath = \"m.db\"\n").contains("the path is relative"));
  CHECK(problem_in("[firewall]\nblocked_countries = [\"RU\"]")
            .contains("firewall: geoip_db is required"));
}

TEST_CASE("An unknown key is refused, with a guess at what was meant") {
  CHECK(problem_in("[proxi]") == "proxi: unknown key; did you mean \"proxy\"?");
  CHECK(problem_in("[proxy]\nidel_timeout = \"5m\"") ==
        "proxy.idel_timeout: unknown key; did you mean \"idle_timeout\"?");
  CHECK(problem_in("[log]\ncolour = true") == "log.colour: unknown key; known here: level, format");
  CHECK(problem_in("\"a b\\n\" = 1").starts_with(R"("a b\n": unknown key)"));
  CHECK(problem(kDatabase, kListener, route("x.example.com"), "port = 1\n") ==
        "8:1: listeners[0].routes[0].port: unknown key; known here: hostname, backend, pool, alpn, "
        "source");
}

TEST_CASE("A value of the wrong type is named in TOML's words, with one of the right type") {
  CHECK(problem_in("[proxy]\nhello_timeout = 10") ==
        "proxy.hello_timeout = 10: an integer, but a string is wanted; "
        "write hello_timeout = \"10s\"");
  CHECK(problem_in("[proxy]\nworkers = \"4\"") ==
        R"(proxy.workers = "4": a string, but an integer is wanted; write workers = 0)");
  CHECK(
      problem_in("[proxy]\nmax_connections = 1e3") ==
      "proxy.max_connections = 1e3: a float, but an integer is wanted; write max_connections = 0");
  CHECK(problem_in("[log]\nlevel = true") ==
        R"(log.level = true: a boolean, but a string is wanted; write level = "debug")");
  CHECK(problem_in("[log]\nlevel = 1979-05-27").contains("1979-05-27: a date-time, but"));
  CHECK(problem_in("[log.level]") ==
        R"(log.level: a table, but a string is wanted; write level = "debug")");
  CHECK(
      problem_in("[firewall]\nblocked_ips = \"192.0.2.1\"").contains("write blocked_ips = [\"203"));
  CHECK(problem_in("[firewall]\nblocked_ips = [5]").contains("blocked_ips[0] = 5: an integer"));
  CHECK(problem_in("proxy = 1") == "proxy = 1: an integer, but a table is wanted; write [proxy]");
  CHECK(problem_in("[[proxy]]") == "proxy: an array, but a table is wanted; write [proxy]");
  CHECK(problem(kDatabase, "[listeners]\naddr = \":443\"\n") ==
        "3:1: listeners: a table, but an array of tables is wanted; write [[listeners]]");
  CHECK(problem("listeners = [{addr=\":1\"}, 2]\n", kDatabase) ==
        "1:27: listeners[1] = 2: an integer, but a table is wanted; write [[listeners]]");
}

TEST_CASE("At least one listener is required, and each needs an address") {
  CHECK(problem(kDatabase).contains("at least one listener is required; write [[listeners]]"));
  CHECK(problem("listeners = []\n", kDatabase).contains("at least one listener is required"));
  CHECK(problem(kDatabase, "[[listeners]]\n") ==
        R"(3:1: listeners[0].addr is required; write addr = ":443")");
  CHECK(problem(kDatabase, "[[listeners]]\naddr = \"443\"\n")
            .contains("listeners[0].addr = \"443\": "));
}

TEST_CASE("Two listeners cannot have one address") {
  const std::string first = std::string(kDatabase) + std::string(kListener);
  CHECK(problem(first, kListener) ==
        "6:8: listeners[1].addr = \":443\": the listener on line 4 has this address already; "
        "write another");
  CHECK(problem(first, "[[listeners]]\naddr = \"[::]:443\"\n").contains("on line 4"));
  CHECK(problem(first, "[[listeners]]\naddr = \"0.0.0.0:443\"\n").contains("on line 4"));
  CHECK(config(first, "[[listeners]]\naddr = \"127.0.0.1:443\"\n").listeners.size() == 2);
  CHECK(config(first, "[[listeners]]\naddr = \":444\"\n").listeners.size() == 2);
}

TEST_CASE("Listeners may leave the port to the kernel, but not share a name") {
  CHECK(config(kDatabase, "[[listeners]]\naddr = \":0\"\n[[listeners]]\naddr = \"127.0.0.1:0\"\n")
            .listeners.size() == 2);
  CHECK(problem(kDatabase, "[[listeners]]\naddr = \":0\"\n[[listeners]]\naddr = \":0\"\n")
            .contains("has this address already"));
}

TEST_CASE("There is a limit to the number of listeners") {
  const auto listeners = [](std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
      text += "[[listeners]]\naddr = \":" + std::to_string(1000 + i) + "\"\n";
    }
    return text;
  };
  CHECK(config(kDatabase, listeners(mc::config::kListenersMax)).listeners.size() ==
        mc::config::kListenersMax);
  CHECK(problem(kDatabase, listeners(mc::config::kListenersMax + 1)).contains("at most 256"));
}

TEST_CASE("One listener has one route for a host name, however it is written") {
  CHECK(
      problem(kDatabase, kListener, route("app.example.com"), route("APP.example.com.")) ==
      "9:12: listeners[0].routes[1].hostname = \"APP.example.com.\": this listener has a route for "
      "\"app.example.com\" already, on line 6; remove one");
  CHECK(problem(kDatabase, kListener, route("*"), route("*")).contains("on line 6"));
  CHECK(
      config(kDatabase, kListener, route("*.example.com"), route("example.com")).listeners.size() ==
      1);
  CHECK(config(kDatabase, kListener, route("example.com"), "[[listeners]]\naddr = \":444\"\n",
               route("example.com"))
            .listeners.size() == 2);
}

TEST_CASE("A route may ask for a protocol, and for where a client comes from") {
  const Config c = config(kDatabase, kListener, route("app.example.com"),
                          route("app.example.com") +
                              "alpn = \"acme-tls/1\"\nsource = [\"192.0.2.1\", "
                              "\"10.0.0.0/8\"]\n",
                          route("app.example.com") + "source = [\"10.0.0.0/8\"]\n");
  const auto& routes = c.listeners[0].routes;
  REQUIRE(routes.size() == 3);
  CHECK(routes[0].match.empty());
  CHECK(to_words(to_text(routes[1].match)) == "alpn=acme-tls/1 source=10.0.0.0/8,192.0.2.1/32");
  CHECK(to_words(to_text(routes[2].match)) == "source=10.0.0.0/8");
}

TEST_CASE("What a route asks for is refused at its place, and where it is there twice") {
  const auto asking = [](std::string_view keys) {
    return route("app.example.com") + std::string(keys) + "\n";
  };
  CHECK(problem(kDatabase, kListener, asking("source = [\"10.0.0.0/8\", \"DE\"]")) ==
        R"(8:25: listeners[0].routes[0].source[1] = "DE": a country, which only a firewall rule )"
        R"(takes; write one like "10.0.0.0/8" or "2001:db8::1")");
  CHECK(problem(kDatabase, kListener, asking("source = [\"10.0.0.0/8\", \"10.1.0.0/16\"]"))
            .contains("routes[0].source: \"10.1.0.0/16\": inside \"10.0.0.0/8\""));
  CHECK(problem(kDatabase, kListener, asking("source = []")).contains("the list is empty"));
  CHECK(problem(kDatabase, kListener, asking("source = \"10.0.0.0/8\""))
            .contains("routes[0].source"));
  CHECK(problem(kDatabase, kListener, asking("alpn = \"\"")).contains("the protocol is empty"));
  CHECK(problem(kDatabase, kListener, asking("alpn = \"h2, h3\""))
            .contains("routes[0].alpn = \"h2, h3\": a route asks for one protocol"));
  CHECK(problem(kDatabase, kListener, asking("alpn = \"h2\""), asking("alpn = \"h2\""))
            .contains("this listener has a route for \"app.example.com\" (alpn=h2) already, on "
                      "line 6; remove one"));
}

TEST_CASE("A host name has a limited number of routes that ask for more") {
  std::string routes = route("app.example.com");
  for (std::size_t i = 0; i < mc::policy::kMatchesPerPatternMax; ++i) {
    routes += route("app.example.com") + "alpn = \"p" + std::to_string(i) + "\"\n";
  }
  CHECK(config(kDatabase, kListener, routes).listeners[0].routes.size() == 17);
  CHECK(problem(kDatabase, kListener, routes, route("app.example.com") + "alpn = \"h2\"\n")
            .contains("has 16 routes for \"app.example.com\" that ask for an alpn or for sources"));
}

TEST_CASE("A route needs a host name, and a backend or a pool") {
  const auto lines = problems(kDatabase, kListener, "[[listeners.routes]]\n");
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] ==
        "5:1: listeners[0].routes[0]: the route has neither a backend nor a pool; write backend = "
        "\"127.0.0.1:18443\" or pool = \"app\"");
  CHECK(lines[1].contains("listeners[0].routes[0].hostname is required; write hostname = "));
}

TEST_CASE("A backend that is one of the proxy's own listeners is refused") {
  const std::string_view backend = GENERATE("127.0.0.1:443", "[::1]:443", "127.9.9.9:443");
  CHECK(problem(kDatabase, kListener, route("a.example.com", backend))
            .contains("this is the listener on line 4: the proxy would connect to itself"));
  CHECK(config(kDatabase, kListener, route("a.example.com", "192.0.2.1:443")).listeners.size() ==
        1);
  CHECK(problem(kDatabase, "[[listeners]]\naddr = \":1\"\n", route("a.example.com", "192.0.2.1:2"),
                "[[listeners]]\naddr = \"192.0.2.1:2\"\n")
            .contains("the listener on line 9"));
}

TEST_CASE("A durationless timeout is only possible where it means never") {
  CHECK(config("[proxy]\nidle_timeout = \"0\"\n", kDatabase, kListener).proxy.idle_timeout == 0ms);
  const std::string key = GENERATE("hello_timeout", "connect_timeout", "shutdown_timeout");
  CHECK(problem_in("[proxy]\n" + key + " = \"0s\"") ==
        "proxy." + key + R"( = "0s": out of range; write a duration from "1ms" to "24h0m0s")");
  CHECK(problem_in("[proxy]\n" + key + " = \"25h\"").contains("out of range"));
  CHECK(problem_in("[proxy]\n" + key + " = \"10\"").contains("the unit is missing; write \"10s\""));
}

TEST_CASE("A count out of range is refused with its range") {
  CHECK(problem_in("[proxy]\nworkers = 1025").ends_with("from 0 to 1024"));
  CHECK(problem_in("[proxy]\nmax_connections = -1").contains("from 0 to "));
  CHECK(problem_in("[proxy]\nmax_connections = 99999999999999999999").contains("not valid TOML"));
}

TEST_CASE("A word that is no choice is refused, with a guess at what was meant") {
  CHECK(problem_in("[proxy]\nsplice = \"inlien\"").ends_with("did you mean \"inline\"?"));
  CHECK(problem_in("[log]\nlevel = \"warning\"").ends_with("did you mean \"warn\"?"));
  CHECK(problem_in("[log]\nformat = \"xml\"").ends_with("write \"text\" or \"json\""));
}

TEST_CASE("A firewall rule in the wrong list or twice is refused") {
  CHECK(problem_in("[firewall]\nblocked_ips = [\"10.0.0.0/8\"]")
            .ends_with("it belongs in blocked_cidrs"));
  CHECK(problem_in("[firewall]\nblocked_cidrs = [\"10.0.0.1\"]")
            .ends_with("it belongs in blocked_ips"));
  CHECK(problem_in("[firewall]\nblocked_cidrs = [\"10.0.0.1/8\"]")
            .ends_with("the block is \"10.0.0.0/8\""));
  CHECK(problem_in("[firewall]\nblocked_ips = [\n\"192.0.2.1\",\n\"::ffff:192.0.2.1\"]")
            .ends_with("the same as firewall.blocked_ips[0] on line 3; remove one"));
  CHECK(problem_in("[firewall]\nblocked_cidrs = [\"10.0.0.0/8\", \"10.0.0.0/8\"]")
            .contains("the same as"));
  CHECK(problem_in("[firewall]\ncut_established = \"yes\"").contains("write cut_established = "));
  CHECK(problem_in("[firewall]\ngeoip_db = \"/g\"\nblocked_countries = [\"de\", \"DE\"]")
            .contains("the same as"));
}

TEST_CASE("A country is one that ISO 3166-1 knows") {
  const auto country = [](std::string_view code) {
    return problem_in("[firewall]\nblocked_countries = [\"" + std::string(code) + "\"]");
  };
  CHECK(country("XX").ends_with("assigns this code to no country"));
  CHECK(country("UK").ends_with("write \"GB\""));
  CHECK(country("DEU").contains("not a country code"));
}

TEST_CASE("The GeoIP database is only required by a country rule") {
  CHECK(config("[firewall]\nblocked_ips = [\"192.0.2.1\"]\nblocked_countries = []\n", kDatabase,
               kListener)
            .firewall.geoip_db.empty());
}

TEST_CASE("The admin API over TCP requires mutual TLS") {
  const auto lines = problems("[grpc]\naddr = \"127.0.0.1:9090\"\n", kDatabase, kListener);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].starts_with(
      "2:8: grpc.client_ca is required: over TCP the admin API needs mutual TLS"));
  CHECK(lines[1].contains("grpc.tls_cert is required"));
  CHECK(lines[2].contains("grpc.tls_key is required"));
}

TEST_CASE("The admin API over a Unix socket requires nothing else") {
  const Config c = config("[grpc]\nsocket = \"/run/a.sock\"\n", kDatabase, kListener);
  REQUIRE(c.grpc.has_value());
  CHECK_FALSE(c.grpc->addr.has_value());
  CHECK(c.grpc->socket == "/run/a.sock");
}

TEST_CASE("An admin API that nobody could reach is refused") {
  CHECK(problem_in("[grpc]").starts_with("grpc: neither addr nor socket is given"));
  CHECK(problem_in("[grpc]\nsocket = \"admin.sock\"").contains("the path is relative"));
  CHECK(problem_in("[grpc]\nsocket = \"/" + std::string(107, 'a') + "\"")
            .contains("at most 107 bytes"));
  CHECK(config("[grpc]\nsocket = \"/" + std::string(106, 'a') + "\"\n", kDatabase, kListener)
            .grpc.has_value());
  CHECK(problem_in("[grpc]\naddr = \"unix:/run/a.sock\"").contains("write it as socket"));
  CHECK(problem_in("[grpc]\nsocket = \"/a\\u0000b\"").contains("U+0000"));
  CHECK(problems("[grpc]\naddr = \"127.0.0.1:9090\"\n", kDatabase,
                 "[[listeners]]\naddr = \"127.0.0.1:9090\"\n")
            .front()
            .contains("the listener on line 6 has this address already"));
}

TEST_CASE("Text that is not TOML is refused at its place, with the line") {
  CHECK(
      problem("a = 1\naddr = :443\n") ==
      "2:8: not valid TOML: Error while parsing value: could not determine value type; the line is "
      "\"addr = :443\"; text stands in double quotes");
  CHECK(problem(kDatabase, kDatabase).contains("not valid TOML"));
  CHECK(problem("a = \"\xff\"\n").contains("not valid TOML"));
  CHECK(problem("\"a\\nb\" = 1\n\"a\\nb\" = 2\n").find('\n') == std::string::npos);
}

TEST_CASE("A key of absurd depth is refused before anything recurses over it") {
  std::string key = "a";
  for (int i = 0; i < 100'000; ++i) key += ".a";
  CHECK(problem(key, " = 1\n").contains("a key has more than 16 parts"));
  CHECK(problem("[", key, "]\n").contains("a key has more than 16 parts"));
  CHECK(problem("x = '''\n'''\n", key, " = 1\n").starts_with("3:32: "));
  // Dots in strings and comments do not count as depth.
  CHECK(problems("x = \"", key, "\"\n#", key, "\ny = '", key, "'\nz = \"\"\"", key, "\n\"\"\"\n")
            .size() >= 4);
}

TEST_CASE("What the TOML library does not survive is refused before it sees it") {
  CHECK(problem("gr\u00f6\u00dfe = 1\n") ==
        "1:3: not valid TOML: a character beyond ASCII must stand in quotes");
  CHECK(problem("a = \"\u00f6\"\u00a0\n")
            .starts_with("1:8: not valid TOML: a character beyond ASCII"));
  CHECK(problem("a = \"\"\"\\\n\u00a7\"\"\"\n").starts_with("1:8: no backslash may end a line"));
  CHECK(problem("a = \"\"\"b\"\"\"\" \u00f6\n").starts_with("1:14: "));
  // All of them may stand in comments and in quotes.
  CHECK(problems("# gr\u00f6\u00dfe [=\n\"gr\u00f6\u00dfe\" = '\u00f6 \\ [='\n[\"[=\"]\n").size() ==
        4);
}

TEST_CASE("An empty configuration says what it needs") {
  const std::string_view text = GENERATE("", "\n\n", "# only a comment\n", "\xef\xbb\xbf");
  CHECK(problem(text).contains("the file holds no settings; database.path is required"));
}

TEST_CASE("A file from an editor with a byte order mark and CRLF is read") {
  CHECK(config("\xef\xbb\xbf[database]\r\npath = \"/db\"\r\n[[listeners]]\r\naddr = \":1\"\r\n")
            .database.path == "/db");
}

TEST_CASE("A flood of problems is cut, and counted") {
  std::string text;
  for (int i = 0; i < 150; ++i) text += "key_" + std::to_string(i) + " = 1\n";
  const Parsed result = parsed(text, kDatabase, kListener);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().size() == 150);
  CHECK(to_string(result.error()).ends_with("and 50 more problems\n"));
}

TEST_CASE("A file is read from disk, and its problems bear its name") {
  const mc::test::TempDir directory;
  const std::string good =
      write(directory, "good.toml", std::string(kDatabase) + std::string(kListener));
  CHECK(load(good).has_value());
  const std::string bad = write(directory, "bad.toml", kListener);
  CHECK(load_error(bad).starts_with(bad + ": database.path is required"));
}

TEST_CASE("A file that cannot be read is told by its cause") {
  const mc::test::TempDir directory;
  CHECK(load_error(directory.file("none.toml")) ==
        directory.file("none.toml") + ": there is no such file; name the configuration with -c\n");
  CHECK(load_error(directory.path()).contains("this is a directory"));
  CHECK(load_error(directory.file("a/b")).contains("there is no such file"));
  const std::string locked = write(directory, "locked.toml", kListener);
  REQUIRE(::chmod(locked.c_str(), 0) == 0);
  std::string error;
  mc::test::without_privilege([&] {
    if (const Parsed result = load(locked); !result) error = to_string(result.error());
  });
  CHECK(error.contains("Permission denied"));
  const std::string large =
      write(directory, "large.toml", std::string(mc::config::kConfigBytesMax + 1, '\n'));
  CHECK(load_error(large).contains("larger than"));
}

TEST_CASE("Files that the configuration names must be there, unless the caller does without") {
  const mc::test::TempDir directory;
  const std::string there = write(directory, "there", "x");
  const std::string text =
      std::string(kDatabase) + std::string(kListener) +
      "[grpc]\naddr = \"127.0.0.1:9090\"\ntls_cert = \"" + there +
      "\"\ntls_key = \"/nonexistent/key\"\nclient_ca = \"/tmp\"\n" +
      "[firewall]\ngeoip_db = \"/nonexistent/geo\"\nblocked_countries = [\"RU\"]\n";
  const std::string path = write(directory, "c.toml", text);
  const Parsed result = load(path);
  REQUIRE_FALSE(result.has_value());
  REQUIRE(result.error().size() == 3);
  CHECK(result.error()[0].to_string().ends_with(
      R"(grpc.tls_key = "/nonexistent/key": the key cannot be read: No such file or directory)"));
  CHECK(result.error()[1].to_string().ends_with(
      R"(grpc.client_ca = "/tmp": the CA's certificate cannot be read: it is not a regular file)"));
  CHECK(result.error()[2].to_string().contains("firewall: geoip_db is required"));
  CHECK(load(path, NamedFiles::kIgnored).has_value());
}
