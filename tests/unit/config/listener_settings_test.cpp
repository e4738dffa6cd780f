// SPDX-License-Identifier: Apache-2.0
#include "config/listener_settings.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/limits.hpp"
#include "support/catch.hpp"
#include "support/config_text.hpp"

using namespace std::chrono_literals;
using mc::config::Config;
using mc::policy::Refusal;
using mc::policy::Starttls;
using mc::test::config_of;
using mc::test::problem_of;
using mc::test::problems_of;

namespace {

// Two pools and a database, in three lines.
constexpr std::string_view kBase =
    "database = { path = \"/db\" }\n"
    "pools = [{ name = \"ssh\", backends = [{ address = \"127.0.0.1:22\" }] }, "
    "{ name = \"web\", backends = [{ address = \"127.0.0.1:8080\" }] }]\n\n";

/// A file with one listener that has these keys, from line 6 on.
std::string listener(std::string_view keys) {
  return std::string(kBase) + "[[listeners]]\naddr = \":443\"\n" + std::string(keys) + "\n";
}

/// The same with a redirect, whose keys begin on line 8.
std::string redirect(std::string_view keys) {
  return listener("") + "[[redirects]]\n" + std::string(keys) + "\n";
}

/// The only problem, without its place.
std::string message_of(const std::string& text) {
  const std::string line = problem_of(text);
  return line.substr(line.find(' ') + 1);
}

}  // namespace

TEST_CASE("A listener without settings has the timeouts of [proxy], and admits nobody special") {
  const Config c = config_of(listener("[proxy]\nhello_timeout = \"7s\"\nidle_timeout = \"0s\""));
  const auto& settings = c.listeners.at(0).settings;
  CHECK(settings.hello_timeout == 7s);
  CHECK(settings.idle_timeout == 0s);
  CHECK(settings.connections_max == 0);
  CHECK_FALSE(settings.proxy_header.has_value());
  CHECK(settings.no_sni.empty());
  CHECK(settings.not_tls.empty());
  CHECK_FALSE(settings.silent.has_value());
  CHECK(settings.refusal == Refusal::kReset);
  CHECK(settings.starttls == Starttls::kNone);
  CHECK_FALSE(settings.redirect.has_value());
}

TEST_CASE("All settings of a listener are read") {
  const Config c = config_of(listener(R"(hello_timeout = "5s"
idle_timeout = "10m"
max_connections = 5000
no_sni = "web"
not_tls = "ssh"
silent = { after = "2s", pool = "ssh" }
refuse = "alert"
starttls = "postgres"
[listeners.proxy_protocol]
from = ["10.0.0.0/8", "2001:db8::1"]
required = false
others = "direct"
timeout = "3s")"));
  const auto& settings = c.listeners.at(0).settings;
  CHECK(settings.hello_timeout == 5s);
  CHECK(settings.idle_timeout == 10min);
  CHECK(settings.connections_max == 5000);
  REQUIRE(settings.proxy_header.has_value());
  REQUIRE(settings.proxy_header->from.size() == 2);
  CHECK(settings.proxy_header->from[0].to_string() == "10.0.0.0/8");
  CHECK(settings.proxy_header->from[1].to_string() == "2001:db8::1/128");
  CHECK_FALSE(settings.proxy_header->is_required);
  CHECK(settings.proxy_header->admits_others);
  CHECK(settings.proxy_header->timeout == 3s);
  CHECK(settings.no_sni == "web");
  CHECK(settings.not_tls == "ssh");
  REQUIRE(settings.silent.has_value());
  CHECK(settings.silent->after == 2s);
  CHECK(settings.silent->pool == "ssh");
  CHECK(settings.refusal == Refusal::kAlert);
  CHECK(settings.starttls == Starttls::kPostgres);
}

TEST_CASE("A PROXY header is required and strangers are refused, unless the listener says else") {
  const Config c = config_of(listener("proxy_protocol = { from = [\"192.0.2.10\"] }"));
  const auto& header = c.listeners.at(0).settings.proxy_header;
  REQUIRE(header.has_value());
  CHECK(header->is_required);
  CHECK_FALSE(header->admits_others);
  CHECK(header->timeout == 5s);
}

TEST_CASE("PROXY headers need senders who are named") {
  CHECK(message_of(listener("proxy_protocol = {}")) ==
        "listeners[0].proxy_protocol.from is required; write from = [\"192.0.2.10\"]");
  CHECK(message_of(listener("proxy_protocol = true")) ==
        "listeners[0].proxy_protocol = true: a boolean, but a table is wanted; write "
        "proxy_protocol = { from = [\"192.0.2.10\"] }");
  CHECK(message_of(listener("proxy_protocol = { from = [] }")) ==
        "listeners[0].proxy_protocol.from names no proxy; write from = [\"192.0.2.10\"], or leave "
        "out proxy_protocol");
  CHECK(message_of(listener("proxy_protocol = { from = \"192.0.2.10\" }")).contains("an array"));
  CHECK(message_of(listener("proxy_protocol = { from = [\"10.0.0.1/8\"] }"))
            .ends_with("the block is \"10.0.0.0/8\""));
  CHECK(message_of(listener("proxy_protocol = { from = [\"192.0.2.1\", \"192.0.2.1/32\"] }"))
            .contains("the same as listeners[0].proxy_protocol.from[0]"));
  CHECK(message_of(listener("proxy_protocol = { from = [\"192.0.2.1\"], timeout = \"2s\" }")) ==
        "listeners[0].proxy_protocol.timeout = \"2s\": out of range; write a duration from "
        "\"3s\" to \"24h0m0s\"");
  CHECK(message_of(listener("proxy_protocol = { from = [\"192.0.2.1\"], others = \"drop\" }"))
            .ends_with("write \"refuse\" or \"direct\""));
  CHECK(message_of(listener("proxy_protocol = { from = [\"192.0.2.1\"], require = true }"))
            .ends_with("did you mean \"required\"?"));
}

TEST_CASE("Senders of PROXY headers have a limit") {
  const auto senders = [](std::size_t count) {
    std::string text = "proxy_protocol = { from = [";
    for (std::size_t i = 0; i < count; ++i) {
      text += "\"10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) + "\", ";
    }
    return listener(text + "] }");
  };
  CHECK(config_of(senders(mc::config::kSendersMax)).listeners.size() == 1);
  CHECK(message_of(senders(mc::config::kSendersMax + 1)).contains("there are 1025, but at most"));
}

TEST_CASE("Where anyone may send a PROXY header, not sending one is no choice") {
  const std::string_view everyone = GENERATE("0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96");
  const std::string from = "from = [\"192.0.2.1\", \"" + std::string(everyone) + "\"]";
  CHECK(config_of(listener("proxy_protocol = { " + from + " }")).listeners.size() == 1);
  CHECK(message_of(listener("proxy_protocol = { " + from + ", required = false }"))
            .starts_with("listeners[0].proxy_protocol.required = false: from has every address, so "
                         "any client could choose"));
}

TEST_CASE("A pool that a listener names is one of the file's") {
  const std::string key = GENERATE("no_sni", "not_tls");
  CHECK(problem_of(listener(key + " = \"shh\"")) ==
        "6:" + std::to_string(key.size() + 4) + ": listeners[0]." + key +
            " = \"shh\": the file has no such pool; write [[pools]] and under it name = \"shh\"");
  CHECK(message_of(listener(key + " = \"\"")).contains("not a pool's name"));
  CHECK(message_of(listener("silent = { after = \"1s\", pool = \"shh\" }"))
            .starts_with("listeners[0].silent.pool = \"shh\": the file has no such pool"));
  CHECK(message_of(redirect("addr = \":80\"\nchallenge_pool = \"acme\""))
            .starts_with("redirects[0].challenge_pool = \"acme\": the file has no such pool"));
}

TEST_CASE("A client is silent before its hello is late") {
  CHECK(message_of(listener("silent = { after = \"10s\", pool = \"ssh\" }")) ==
        "listeners[0].silent.after = \"10s\": the client is refused before, by hello_timeout, "
        "which is \"10s\" here; write a shorter duration");
  CHECK(message_of(listener("hello_timeout = \"2s\"\nsilent = { after = \"2s\", pool = \"ssh\" }"))
            .contains("which is \"2s\" here"));
  CHECK(config_of(listener("hello_timeout = \"2s\"\nsilent = { after = \"1.9s\", pool = \"ssh\" }"))
            .listeners.size() == 1);
  CHECK(message_of(listener("silent = { after = \"99ms\", pool = \"ssh\" }"))
            .contains("out of range; write a duration from \"100ms\""));
  const auto both = problems_of(listener("silent = {}"));
  REQUIRE(both.size() == 2);
  CHECK(both[0] == "6:10: listeners[0].silent.after is required; write after = \"2s\"");
  CHECK(both[1] == "6:10: listeners[0].silent.pool is required; write pool = \"app\"");
}

TEST_CASE("Settings of a listener that are none are refused") {
  CHECK(message_of(listener("refuse = \"tls\"")).ends_with("write \"reset\" or \"alert\""));
  CHECK(message_of(listener("starttls = \"mysql\"")).ends_with("write \"postgres\""));
  CHECK(message_of(listener("max_connections = -1")).contains("from 0 to"));
  CHECK(message_of(listener("hello_timeout = \"0s\"")).contains("out of range"));
  CHECK(message_of(listener("nosni = \"ssh\"")).ends_with("did you mean \"no_sni\"?"));
}

TEST_CASE("A redirect is a listener after the others, which it serves") {
  const Config c = config_of(redirect("addr = \":80\"") + "[[listeners]]\naddr = \":8443\"\n" +
                             "[proxy]\nhello_timeout = \"7s\"\n");
  REQUIRE(c.listeners.size() == 3);
  CHECK(c.listeners[1].name == ":8443");
  CHECK(c.listeners[2].name == ":80");
  CHECK(c.listeners[2].routes.empty());
  CHECK(c.listeners[2].settings.hello_timeout == 7s);
  const auto& settings = c.listeners[2].settings.redirect;
  REQUIRE(settings.has_value());
  CHECK(settings->listeners == std::vector<std::size_t>{0, 1});
  CHECK(settings->challenge_pool.empty());
  CHECK(settings->port == 443);
}

TEST_CASE("All settings of a redirect are read") {
  const Config c = config_of(redirect(R"(addr = ":80"
freebind = true
listeners = [":8443"]
challenge_pool = "web"
port = 8443
hello_timeout = "3s"
max_connections = 100
proxy_protocol = { from = ["192.0.2.10"] })") +
                             "[[listeners]]\naddr = \":8443\"\n");
  CHECK(c.listeners.at(2).freebind);
  const auto& settings = c.listeners[2].settings;
  CHECK(settings.hello_timeout == 3s);
  CHECK(settings.connections_max == 100);
  CHECK(settings.proxy_header.has_value());
  CHECK(settings.redirect->listeners == std::vector<std::size_t>{1});
  CHECK(settings.redirect->challenge_pool == "web");
  CHECK(settings.redirect->port == 8443);
}

TEST_CASE("A redirect leads from its own port to a listener that is there") {
  CHECK(message_of(redirect("")) == "redirects[0].addr is required; write addr = \":443\"");
  CHECK(message_of(redirect("addr = \":80\"\nlisteners = [\":444\"]")) ==
        "redirects[0].listeners[0] = \":444\": no table of [[listeners]] has this addr; write "
        "\":443\"");
  CHECK(message_of(redirect("addr = \":80\"\nlisteners = [\":80\"]")).contains("no table of"));
  CHECK(message_of(redirect("addr = \":80\"\nlisteners = []"))
            .contains("names no listener, so no name would be redirected"));
  CHECK(message_of(redirect("addr = \":80\"\nlisteners = [\":443\", \":443\"]"))
            .ends_with("the same as redirects[0].listeners[0]; remove one"));
  CHECK(message_of(redirect("addr = \":80\"\nport = 80"))
            .starts_with("redirects[0].port: clients would be redirected to port 80, where this"));
  CHECK(message_of(redirect("addr = \":80\"\nport = 0")).contains("from 1 to 65535"));
  CHECK(message_of(redirect("addr = \":443\"\nport = 444"))
            .ends_with("the listener on line 5 has this address already; write another"));
  CHECK(message_of(redirect("addr = \":80\"\nroutes = []")).contains("unknown key; known here: "));
  CHECK(message_of(redirect("addr = \":80\"\nno_sni = \"ssh\"")).contains("unknown key"));
}

TEST_CASE("A backend that is a redirect leads back, too") {
  CHECK(message_of(redirect("addr = \":8080\"")).contains("this is the listener on line 8"));
  CHECK(message_of(std::string(redirect("addr = \":80\"")) +
                   "[[listeners]]\naddr = \":8443\"\n[[listeners.routes]]\n"
                   "hostname = \"a.example.com\"\nbackend = \"127.0.0.1:80\"\n")
            .contains("this is the listener on line 8"));
}

TEST_CASE("Listeners and redirects have a limit together") {
  const auto redirects = [](std::size_t count) {
    std::string text = listener("");
    for (std::size_t i = 0; i < count; ++i) {
      text += "[[redirects]]\naddr = \":" + std::to_string(1000 + i) + "\"\n";
    }
    return text;
  };
  CHECK(config_of(redirects(mc::config::kListenersMax - 1)).listeners.size() ==
        mc::config::kListenersMax);
  CHECK(problem_of(redirects(mc::config::kListenersMax)).contains("at most 256"));
}
