// SPDX-License-Identifier: Apache-2.0
#include "config/dns.hpp"

#include <chrono>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "config/limits.hpp"
#include "support/catch.hpp"
#include "support/config_text.hpp"

using namespace std::chrono_literals;
using mc::config::Dns;
using mc::config::DnsFamily;
using mc::config::parse_dns_server;
using mc::test::config_of;
using mc::test::problem_of;

namespace {

constexpr std::string_view kBase =
    "database = { path = \"/db\" }\nlisteners = [{ addr = \":443\" }]\n";

std::string with(std::string_view section) { return std::string(kBase) + std::string(section); }

Dns dns(std::string_view keys) { return config_of(with("[dns]\n") + std::string(keys)).dns; }

std::string problem(std::string_view keys) {
  const std::string line = problem_of(with("[dns]\n") + std::string(keys));
  return line.substr(line.find(' ') + 1);
}

std::string problem_of_sources(std::string_view sources) {
  const std::string line = problem_of(with("[proxy]\nsources = " + std::string(sources)));
  return line.substr(line.find(' ') + 1);
}

}  // namespace

TEST_CASE("Without [dns] the servers are the system's, and answers last from 5 s to 5 min") {
  const Dns defaults = config_of(kBase).dns;
  CHECK(defaults.servers.empty());
  CHECK(defaults.ttl_min == 5s);
  CHECK(defaults.ttl_max == 5min);
  CHECK(defaults.family == DnsFamily::kAny);
}

TEST_CASE("All keys of [dns] are read") {
  const Dns read = dns(R"(servers = ["127.0.0.53:5353", "192.0.2.53", "2001:db8::53", "[::1]:54"]
ttl_min = "1s"
ttl_max = "1h"
family = "ipv6"
)");
  REQUIRE(read.servers.size() == 4);
  CHECK(read.servers[0].to_string() == "127.0.0.53:5353");
  CHECK(read.servers[1].to_string() == "192.0.2.53:53");
  CHECK(read.servers[2].to_string() == "[2001:db8::53]:53");
  CHECK(read.servers[3].to_string() == "[::1]:54");
  CHECK(read.ttl_min == 1s);
  CHECK(read.ttl_max == 1h);
  CHECK(read.family == DnsFamily::kIpv6);
}

TEST_CASE("A DNS server is an address that can be asked, once") {
  CHECK(problem("servers = [\"dns.example.com\"]").contains("dns.servers[0] = \"dns.exam"));
  CHECK(problem("servers = [\"0.0.0.0\"]").contains("no server has this address"));
  CHECK(problem("servers = [\"[ff02::1]:53\"]").contains("no server has this address"));
  CHECK(problem("servers = [\"fe80::1\"]").contains("a link-local server cannot be asked"));
  CHECK(problem("servers = [\"192.0.2.53\", \"192.0.2.53:53\"]").contains("is there already"));
  std::string many = "servers = [";
  for (std::size_t i = 0; i <= mc::config::kDnsServersMax; ++i) {
    many += "\"192.0.2." + std::to_string(i) + "\", ";
  }
  CHECK(problem(many + "]").contains("at most 8 servers"));
}

TEST_CASE("The bounds of an answer's time are in order") {
  CHECK(problem("ttl_min = \"999ms\"").contains("from \"1s\" to "));
  CHECK(dns("ttl_min = \"5m\"").ttl_min == 5min);
  CHECK(problem("ttl_min = \"6m\"") ==
        "dns.ttl_max is \"5m0s\", shorter than ttl_min, which is \"6m0s\"; write one that is not");
  CHECK(problem("family = \"ipv5\"").contains("did you mean"));
}

TEST_CASE("Source addresses are of this machine's kind, each once, and not too many") {
  const auto proxy = config_of(with("[proxy]\nsources = [\"10.0.0.5\", \"2001:db8::5\"]")).proxy;
  REQUIRE(proxy.sources.size() == 2);
  CHECK(proxy.sources[1].to_string() == "2001:db8::5");
  CHECK(problem_of_sources("[\"0.0.0.0\"]").contains("no interface has this address"));
  CHECK(problem_of_sources("[\"224.0.0.1\"]").contains("no interface has this address"));
  CHECK(problem_of_sources("[\"fe80::1\"]").contains("its own link-local addresses"));
  CHECK(problem_of_sources("[\"10.0.0.5:0\"]").starts_with("proxy.sources[0] = \"10.0.0.5:0\": "));
  CHECK(problem_of_sources("[\"10.0.0.5\", \"::ffff:10.0.0.5\"]").contains("the same as"));
  std::string many = "[";
  for (std::size_t i = 0; i <= mc::config::kSourcesMax; ++i) {
    many += "\"10.0.0." + std::to_string(i) + "\", ";
  }
  CHECK(problem_of_sources(many + "]") ==
        "proxy.sources: there are 65, but at most 64 are possible");
}
