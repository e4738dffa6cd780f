// SPDX-License-Identifier: Apache-2.0
#include "config/pools.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "support/catch.hpp"
#include "support/config_text.hpp"

using namespace std::chrono_literals;
using mc::config::Config;
using mc::policy::AdminState;
using mc::policy::AllDown;
using mc::policy::Balance;
using mc::policy::CheckKind;
using mc::policy::OnDown;
using mc::test::config_of;
using mc::test::problem_of;
using mc::test::problems_of;

namespace {

// One line each, so that a pool that follows begins on line 3.
constexpr std::string_view kBase =
    "database = { path = \"/db\" }\nlisteners = [{ addr = \":443\" }]\n";
constexpr std::string_view kBackend = "[[pools.backends]]\naddress = \"10.0.0.1:443\"\n";

std::string pool(std::string_view settings = "", std::string_view name = "app") {
  return "[[pools]]\nname = \"" + std::string(name) + "\"\n" + std::string(settings);
}

// A listener with routes: "HOSTNAME POOL" each.
std::string listener(std::string_view addr,
                     const std::vector<std::pair<std::string, std::string>>& routes) {
  std::string text = "[[listeners]]\naddr = \"" + std::string(addr) + "\"\n";
  for (const auto& [hostname, name] : routes) {
    text += "[[listeners.routes]]\nhostname = \"" + hostname + "\"\npool = \"" + name + "\"\n";
  }
  return text;
}

constexpr std::string_view kDatabase = "[database]\npath = \"/db\"\n";

/// The only problem of a pool with these settings and one backend, without its place.
std::string problem_with(std::string_view settings) {
  const std::string line = problem_of(std::string(kBase) + pool(settings) + std::string(kBackend));
  return line.substr(line.find(' ') + 1);
}

/// The only problem of a pool with a backend that has these settings too.
std::string problem_of_backend(std::string_view settings) {
  const std::string line =
      problem_of(std::string(kBase) + pool() + std::string(kBackend) + std::string(settings));
  return line.substr(line.find(' ') + 1);
}

}  // namespace

TEST_CASE("The smallest pool has a name and a backend, and defaults for everything else") {
  const Config c = config_of(std::string(kBase) + pool() + std::string(kBackend));
  REQUIRE(c.pools.size() == 1);
  CHECK(c.pools[0].name == "app");
  CHECK(c.pools[0].settings == mc::policy::PoolSettings());
  REQUIRE(c.pools[0].backends.size() == 1);
  CHECK(to_text(c.pools[0].backends[0]) == mc::policy::BackendText{.address = "10.0.0.1:443"});
}

TEST_CASE("Every key of a pool is read into its typed value") {
  const Config c = config_of(std::string(kBase) + R"(
[[pools]]
name = "app"
balance = "hash_source"
hash_prefix = { v4 = 24, v6 = 48 }
retries = 8
dial_budget = "3s"
slow_start = "30s"
all_down = "refuse"
on_down = "reset"
  [pools.check]
  kind = "tls"
  name = "app.example.com"
  interval = "10s"
  fast_interval = "500ms"
  timeout = "1s"
  rise = 3
  fall = 4
  [[pools.backends]]
  address = "10.0.0.2:443"
  weight = 0
  [[pools.backends]]
  address = "[2001:db8::1]:443"
  backup = true
  max_connections = 10
  state = "drain"
)");
  REQUIRE(c.pools.size() == 1);
  const auto& settings = c.pools[0].settings;
  CHECK(settings.balance == Balance::kHashSource);
  CHECK(settings.hash_prefix_v4 == 24);
  CHECK(settings.hash_prefix_v6 == 48);
  CHECK(settings.retries == 8);
  CHECK(settings.dial_budget == 3s);
  CHECK(settings.slow_start == 30s);
  CHECK(settings.all_down == AllDown::kRefuse);
  CHECK(settings.on_down == OnDown::kReset);
  CHECK(settings.check == mc::policy::Check{.kind = CheckKind::kTls,
                                            .name = "app.example.com",
                                            .interval = 10s,
                                            .fast_interval = 500ms,
                                            .timeout = 1s,
                                            .rise = 3,
                                            .fall = 4});
  const auto& backends = c.pools[0].backends;
  REQUIRE(backends.size() == 2);
  CHECK(backends[0].weight == 0);
  CHECK(backends[1].address.to_string() == "[2001:db8::1]:443");
  CHECK(backends[1].backup);
  CHECK(backends[1].max_connections == 10);
  CHECK(backends[1].state == AdminState::kDrain);
}

TEST_CASE("A value that a pool cannot have is named with its place and what would be right") {
  CHECK(problem_with("retries = 9\n") == "pools[0].retries = 9: out of range; write 0 to 8");
  CHECK(problem_with("dial_budget = \"2h\"\n")
            .starts_with("pools[0].dial_budget = \"2h\": out of range; write 1ms to "));
  CHECK(problem_with("dial_budget = \"2\"\n").starts_with("pools[0].dial_budget = \"2\": "));
  CHECK(problem_with("balance = \"round_robbin\"\n") ==
        "pools[0].balance = \"round_robbin\": not one of the choices; did you mean "
        "\"round_robin\"?");
  CHECK(problem_with("all_down = \"panic\"\n").contains("write \"try\" or \"refuse\""));
  CHECK(problem_with("slow_start = 5\n").contains("an integer, but a string is wanted"));
  CHECK(problem_with("balanse = \"round_robin\"\n").contains("did you mean \"balance\"?"));
  CHECK(problem_with("check = { kind = \"tcp\", interval = \"1ms\" }\n")
            .starts_with("pools[0].check.interval = \"1ms\": out of range; write 100ms to "));
  CHECK(problem_with("check = { interval = \"1s\" }\n") ==
        "pools[0].check.kind is required; write kind = \"tls\", \"tcp\" or \"none\"");
  CHECK(problem_with("check = { kind = \"tls\", name = \"*.example.com\" }\n")
            .starts_with("pools[0].check.name = \"*.example.com\": a check sends one name"));
  CHECK(problem_with("balance = \"hash_source\"\nhash_prefix = { v4 = 33 }\n") ==
        "pools[0].hash_prefix.v4 = 33: out of range; write 1 to 32");
  CHECK(problem_of_backend("weight = 1001\n") ==
        "pools[0].backends[0].weight = 1001: out of range; write 0 to 1000");
  CHECK(problem_of_backend("state = \"maint\"\n").contains("did you mean \"maintenance\"?") ==
        true);
  CHECK(problem_of_backend("[[pools.backends]]\naddress = \"10.0.0.1\"\n")
            .starts_with("pools[0].backends[1].address = \"10.0.0.1\": "));
  CHECK(problem_of_backend("[[pools.backends]]\naddress = \"10.0.0.1:443\"\n")
            .starts_with("pools[0].backends[1].address = \"10.0.0.1:443\": the same address as "));
}

TEST_CASE("All problems of a pool are found, each at its line") {
  const auto lines = problems_of(std::string(kBase) + pool("retries = 9\nslow_start = \"48h\"\n") +
                                 "[[pools.backends]]\nweight = 1001\n");
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].starts_with("5:11: pools[0].retries = 9: "));
  CHECK(lines[1].starts_with("6:14: pools[0].slow_start = \"48h\": "));
  CHECK(lines[2].starts_with("7:1: pools[0].backends[0].address is required; write address = "));
  CHECK(lines[3].starts_with("8:10: pools[0].backends[0].weight = 1001: "));
}

TEST_CASE("A pool needs a name that is a pool's, and of its own") {
  CHECK(problem_of(std::string(kBase) + "[[pools]]\n" + std::string(kBackend)) ==
        "3:1: pools[0].name is required; write name = \"app\"");
  CHECK(problem_of(std::string(kBase) + pool("", "my pool") + std::string(kBackend))
            .starts_with("4:8: pools[0].name = \"my pool\": not a pool's name: "));
  const std::string twice = pool() + std::string(kBackend);
  CHECK(problem_of(std::string(kBase) + twice + twice) ==
        "8:8: pools[1].name = \"app\": the same name as on line 4; write another");
}

TEST_CASE("A pool needs a backend") {
  const std::string expected =
      "3:1: pools[0].backends: at least one is required; write [[pools.backends]] and under it "
      "address = \"10.0.0.1:443\"";
  CHECK(problem_of(std::string(kBase) + pool()) == expected);
  CHECK(problem_of(std::string(kBase) + pool("backends = []\n")) == expected);
  CHECK(problem_of(std::string(kBase) + pool("backends = 5\n"))
            .contains("an integer, but an array of tables is wanted"));
  CHECK(problem_of(std::string(kBase) + pool("backends = [\"10.0.0.1:443\"]\n"))
            .contains("a string, but a table is wanted"));
}

TEST_CASE("A prefix for hashes has no effect where no addresses are hashed") {
  const std::string expected =
      "pools[0].hash_prefix has no effect with balance = \"{}\"; write balance = "
      "\"hash_source\", or leave out hash_prefix";
  const auto with = [&](const std::string& word) {
    std::string text = expected;
    return text.replace(text.find("{}"), 2, word);
  };
  CHECK(problem_with("hash_prefix = { v4 = 24 }\n") == with("random_two"));
  CHECK(problem_with("hash_prefix = { v6 = 64 }\nbalance = \"hash_name\"\n") == with("hash_name"));
  // What is meant is not known here.
  CHECK(problem_with("hash_prefix = { v6 = 64 }\nbalance = \"hash\"\n")
            .starts_with("pools[0].balance"));
}

TEST_CASE("A pool's backend that is one of the proxy's own listeners is refused") {
  CHECK(
      problem_of_backend("[[pools.backends]]\naddress = \"127.0.0.1:443\"\n")
          .starts_with("pools[0].backends[1].address = \"127.0.0.1:443\": this is the listener on "
                       "line 2: the proxy would connect to itself"));
}

TEST_CASE("A route leads to a pool of the file, before or after it") {
  const std::string route = listener(":443", {{"app.example.com", "app"}});
  for (const std::string& text :
       {std::string(kDatabase) + route + pool() + std::string(kBackend),
        std::string(kDatabase) + pool() + std::string(kBackend) + route}) {
    const Config c = config_of(text);
    REQUIRE(c.listeners[0].routes.size() == 1);
    REQUIRE(c.listeners[0].routes[0].pool() != nullptr);
    CHECK(*c.listeners[0].routes[0].pool() == "app");
  }
  CHECK(problem_of(std::string(kDatabase) + listener(":443", {{"app.example.com", "ap"}}) + pool() +
                   std::string(kBackend)) ==
        "7:8: listeners[0].routes[0].pool = \"ap\": the file has no such pool; write [[pools]] and "
        "under it name = \"ap\"");
  CHECK(problem_of(std::string(kDatabase) + listener(":443", {{"app.example.com", ""}}))
            .starts_with("7:8: listeners[0].routes[0].pool = \"\": not a pool's name"));
}

TEST_CASE("A pool with a problem is no problem of the routes that lead to it") {
  CHECK(problem_of(std::string(kDatabase) + listener(":443", {{"app.example.com", "app"}}) +
                   pool("retries = 9\n") + std::string(kBackend))
            .contains("pools[0].retries"));
}

TEST_CASE("A route has a backend or a pool, but not both") {
  CHECK(problem_of(std::string(kDatabase) + listener(":443", {{"app.example.com", "app"}}) +
                   "backend = \"127.0.0.1:1\"\n" + pool() + std::string(kBackend)) ==
        "7:8: listeners[0].routes[0].pool = \"app\": the route has the backend \"127.0.0.1:1\", "
        "too; leave one of both out");
}

TEST_CASE("A TLS check sends the only exact name of the routes that lead to its pool") {
  const std::string tls = pool("check = { kind = \"tls\" }\n") + std::string(kBackend);
  const Config c =
      config_of(std::string(kDatabase) + tls +
                listener(":443", {{"App.example.com", "app"}, {"*.example.com", "app"}}) +
                listener(":8443", {{"app.example.com", "app"}}));
  CHECK(c.pools[0].settings.check.name == "app.example.com");
  CHECK(problem_of(std::string(kDatabase) + tls + listener(":443", {{"*.example.com", "app"}})) ==
        "5:9: pools[0].check.name is required: a TLS check sends a name, and no route with an "
        "exact host name leads to the pool; write name = \"app.example.com\" under [pools.check]");
  CHECK(problem_of(std::string(kDatabase) + tls +
                   listener(":443", {{"b.example.com", "app"}, {"a.example.com", "app"}})) ==
        "5:9: pools[0].check.name is required: a TLS check sends a name, and routes with several "
        "host names lead to the pool; write name = \"a.example.com\" under [pools.check]");
}

TEST_CASE("a pool may tell its backends who the client is") {
  const Config read = config_of(std::string(kBase) +
                                pool("send_proxy = \"v2\"\nsend_proxy_tlvs = [\"authority\", "
                                     "\"crc32c\"]\n") +
                                std::string(kBackend));
  const auto& settings = read.pools[0].settings;
  CHECK(settings.send_proxy == mc::policy::SendProxy::kV2);
  CHECK(settings.send_proxy_tlvs == mc::policy::ProxyTlvs{.authority = true, .crc32c = true});
}

TEST_CASE("what is wrong of a PROXY header is told with its place") {
  CHECK(problem_with("send_proxy = \"v3\"\n").contains("send_proxy"));
  CHECK(problem_with("send_proxy = \"v2\"\nsend_proxy_tlvs = [\"ssl\"]\n") ==
        "pools[0].send_proxy_tlvs[0] = \"ssl\": no such TLV; write \"authority\", \"unique_id\" "
        "or \"crc32c\"");
  CHECK(problem_with("send_proxy = \"v1\"\nsend_proxy_tlvs = [\"crc32c\"]\n")
            .contains("only a PROXY header of version 2 has TLVs"));
}

TEST_CASE("a backend may be a name or a Unix socket") {
  const Config read = config_of(std::string(kBase) + pool() +
                                "[[pools.backends]]\naddress = \"app.internal:443\"\n"
                                "[[pools.backends]]\naddress = \"unix:/run/app.sock\"\n");
  CHECK(read.pools[0].backends[0].address.to_string() == "app.internal:443");
  CHECK(read.pools[0].backends[1].address.to_string() == "unix:/run/app.sock");
}
