// SPDX-License-Identifier: Apache-2.0
#include "proxy/redirect.hpp"

#include <string>

#include "http/limits.hpp"
#include "support/catch.hpp"
#include "unit/proxy/visitor.hpp"

namespace mc::proxy {
namespace {

using namespace std::chrono_literals;
using testing::accept;
using testing::Stage;
using testing::Visitor;

const std::string kChallenge =
    "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: new.example.com\r\n\r\n";

std::string request(const std::string& line, const std::string& host = "app.example.com") {
  return line + "\r\nHost: " + host + "\r\nUser-Agent: test\r\n\r\n";
}

// A listener that redirects the names of its own routes; challenges go to the stage's backend.
struct Redirecting : Stage {
  Redirecting() {
    listener.redirect = {.listeners = {0}, .challenge_pool = "acme", .port = 443};
    policy::LivePools pools;
    pools.emplace("acme", std::make_shared<const policy::LivePool>(
                              testing::pool_of({test::address_of(backend)}, {}, "acme"),
                              policy::ResolvedNames(), nullptr, Instant()));
    publish(policy_of({policy::live_route("app.example.com", test::address_of(backend))}, pools));
  }
};

// The whole response, up to the end of the stream.
std::string response(Visitor& client) {
  std::string text = client.receive(16'384);
  CHECK(client.end() == 0);
  client.fd.reset();
  return text;
}

}  // namespace

TEST_CASE("a request for a name that has a route is redirected") {
  Redirecting stage;
  Visitor client(stage);
  const std::string method = GENERATE("GET", "HEAD", "POST");
  const std::string sent = request(method + " /path?q=1 HTTP/1.1");
  SECTION("at once") { client.send(sent); }
  SECTION("byte by byte") { client.dribble(sent); }
  const std::string reply = response(client);
  CHECK(reply.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"));
  CHECK(reply.contains("\r\nLocation: https://app.example.com/path?q=1\r\n"));
  CHECK(reply.ends_with("\r\n\r\n"));
  CHECK(client.ended() == Reason::kRedirected);
  CHECK(stage.logged().contains("route=redirect"));
}

TEST_CASE("the port of the TLS listener is in the redirect, if it is another than 443") {
  Redirecting stage;
  stage.listener.redirect->port = 8443;
  Visitor client(stage);
  client.send(request("GET / HTTP/1.1"));
  CHECK(response(client).contains("\r\nLocation: https://app.example.com:8443/\r\n"));
}

TEST_CASE("a request that cannot be redirected is told so") {
  Redirecting stage;
  Visitor client(stage);
  std::string sent, status;
  Reason expected{};
  SECTION("no route") {
    sent = request("GET / HTTP/1.1", "other.example.com");
    status = "404";
    expected = Reason::kNoRoute;
  }
  SECTION("no host") {
    sent = "GET / HTTP/1.1\r\n\r\n";
    status = "400";
    expected = Reason::kBadRequest;
  }
  SECTION("an address") {
    sent = request("GET / HTTP/1.1", "192.0.2.1");
    status = "404";
    expected = Reason::kNoRoute;
  }
  SECTION("no HTTP") {
    sent = "\x16\x03\x01 hello\r\n";
    status = "400";
    expected = Reason::kBadRequest;
  }
  SECTION("another version") {
    sent = request("GET / HTTP/2.0");
    status = "505";
    expected = Reason::kBadRequest;
  }
  SECTION("too long a line") {
    sent = "GET /" + std::string(http::kHeadBytesMax, 'x');
    status = "414";
    expected = Reason::kBadRequest;
  }
  SECTION("too many fields") {
    sent = "GET / HTTP/1.1\r\nCookie: " + std::string(http::kHeadBytesMax, 'x');
    status = "431";
    expected = Reason::kBadRequest;
  }
  client.send(sent);
  CHECK(response(client).starts_with("HTTP/1.1 " + status + " "));
  CHECK(client.ended() == expected);
  CHECK(stage.logged().contains("connection refused"));
}

TEST_CASE("a challenge goes to its pool with every byte that came") {
  Redirecting stage;
  Visitor client(stage);
  SECTION("at once, with more behind it") { client.send(kChallenge + "more"); }
  SECTION("byte by byte") { client.dribble(kChallenge + "more"); }
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, kChallenge.size() + 4) == kChallenge + "more");
  testing::send(backend, "token.key");
  CHECK(client.receive(9) == "token.key");
  CHECK(client.facts().route() == "challenge");
  CHECK(client.facts().name == "new.example.com");
}

TEST_CASE("a challenge without a pool for it is not found") {
  Redirecting stage;
  stage.listener.redirect->challenge_pool.clear();
  Visitor client(stage);
  client.send(kChallenge);
  CHECK(response(client).starts_with("HTTP/1.1 404 "));
  CHECK(client.ended() == Reason::kNoRoute);
}

TEST_CASE("a request that does not end is waited for as long as a hello") {
  Redirecting stage;
  Visitor client(stage);
  client.send("GET / HTTP/1.1\r\n");
  SECTION("timeout") {
    client.pass(stage.listener.hello_timeout + 1s);
    CHECK(client.ended() == Reason::kHelloTimeout);
  }
  SECTION("the client leaves") {
    testing::turn(stage);
    client.fd.reset();
    CHECK(client.ended() == Reason::kClientClosed);
  }
}

}  // namespace mc::proxy
