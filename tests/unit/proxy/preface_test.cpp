// SPDX-License-Identifier: Apache-2.0
#include "proxy/preface.hpp"

#include <chrono>
#include <string>

#include "support/catch.hpp"
#include "unit/proxy/visitor.hpp"
#include "unit/proxy_protocol/header_builder.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::proxy {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using proxy_protocol::testing::addresses_v4;
using proxy_protocol::testing::binary;
using proxy_protocol::testing::join;
using proxy_protocol::testing::kLocal;
using proxy_protocol::testing::kProxy;
using proxy_protocol::testing::tlv;
using testing::accept;
using testing::Stage;
using testing::text_of;
using testing::Visitor;

constexpr std::uint8_t kTcp4 = 0x11;
const IpAddress kStranger = IpAddress::v4(0x7f000002);
const std::string kLine = "PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n";

std::string hello() { return text_of(tls::testing::typical_hello().stream()); }
std::string header_v2() { return text_of(binary(kProxy, kTcp4, addresses_v4())); }

// The proxy in front is 127.0.0.1.
struct BehindProxy : Stage {
  BehindProxy() { listener.proxy_header = {.from = {IpPrefix::parse("127.0.0.1/32").value()}}; }
};

}  // namespace

// ---- the PROXY header

TEST_CASE("a PROXY header names the client and is taken whole, however it comes") {
  BehindProxy stage;
  const bool is_v2 = GENERATE(false, true);
  const std::string header = is_v2 ? header_v2() : kLine;
  const std::string sent = header + hello();
  Visitor proxy(stage);
  SECTION("byte by byte") { proxy.dribble(sent); }
  SECTION("at once") { proxy.send(sent); }
  SECTION("with the hello in pieces") {
    proxy.send(header);
    testing::turn(stage);
    proxy.send(sent.substr(header.size(), 7));
    testing::turn(stage);
    proxy.send(sent.substr(header.size() + 7));
  }
  SECTION("cut in two, the second with the hello") {
    proxy.send(sent.substr(0, 14));
    testing::turn(stage);
    proxy.send(sent.substr(14));
  }
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
  CHECK(proxy.facts().client().to_string() == "192.0.2.1:51000");
  CHECK(proxy.facts().rare->destination.to_string() == "198.51.100.2:443");
  CHECK(proxy.facts().peer == proxy.address());
  CHECK(proxy.facts().bytes_up == hello().size());
}

TEST_CASE("a header that names nobody leaves the peer as the client") {
  BehindProxy stage;
  Visitor proxy(stage);
  proxy.send("PROXY UNKNOWN\r\n" + hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
  CHECK(proxy.facts().client() == proxy.address());
  CHECK_FALSE(proxy.facts().is_conveyed());
}

TEST_CASE("an urgent byte at the start of the header is a byte of it") {
  BehindProxy stage;
  Visitor proxy(stage);
  proxy.send(kLine.substr(0, 1), MSG_OOB);
  testing::turn(stage);
  proxy.send(kLine.substr(1) + hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
}

// A peek ends before it (tcp(7)), so the header never gets complete.
TEST_CASE("a header with an urgent byte inside ends at its timeout") {
  BehindProxy stage;
  Visitor proxy(stage);
  proxy.send(kLine.substr(0, 10), MSG_OOB);
  proxy.send(kLine.substr(10) + hello());
  for (int i = 0; i < 5; ++i) testing::turn(stage);
  CHECK_FALSE(proxy.facts().has_way());
  proxy.pass(6s);
  CHECK(proxy.ended() == Reason::kProxyTimeout);
}

TEST_CASE("a wrong header is refused, and the log says what is wrong with it") {
  BehindProxy stage;
  Visitor proxy(stage);
  std::string complaint;
  SECTION("checksum") {
    proxy.send(text_of(binary(kProxy, kTcp4, join({addresses_v4(), tlv(0x03, {0, 0, 0, 0})}))));
    complaint = "error=\"wrong checksum\"";
  }
  SECTION("none, although it is required") {
    proxy.send(hello());
    complaint = "error=\"no PROXY header\"";
  }
  CHECK(proxy.end() == ECONNRESET);
  CHECK(proxy.ended() == Reason::kProxyHeader);
  CHECK(stage.logged().contains(complaint));
  CHECK(stage.logged().contains("reason=proxy_header"));
}

TEST_CASE("where no header is required a hello passes untouched, from the peer") {
  BehindProxy stage;
  stage.listener.proxy_header->is_required = false;
  Visitor client(stage);
  client.dribble(hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
  CHECK(client.facts().client() == client.address());
}

TEST_CASE("of a stranger no header is read") {
  BehindProxy stage;
  stage.listener.proxy_header->admits_others = true;
  Visitor stranger(stage, kStranger);
  SECTION("a header is no hello") {
    stranger.send(kLine + hello());
    CHECK(stranger.ended() == Reason::kNotTls);
  }
  SECTION("a hello passes") {
    stranger.send(hello());
    const Fd backend = accept(stage, stage.backend);
    CHECK(testing::receive(stage, backend, hello().size()) == hello());
  }
}

TEST_CASE("only one header is read") {
  BehindProxy stage;
  Visitor proxy(stage);
  proxy.send(kLine + kLine + hello());
  CHECK(proxy.ended() == Reason::kNotTls);
}

TEST_CASE("a proxy that only checks this one leaves neither a failure nor a line") {
  BehindProxy stage;
  Visitor proxy(stage);
  proxy.send(text_of(binary(kLocal, kTcp4, addresses_v4())));
  test::turn_until(*stage.loop, [&] { return proxy.facts().rare != nullptr; });
  CHECK(proxy.facts().client() == proxy.address());
  SECTION("it closes") { proxy.fd.reset(); }
  SECTION("it resets, as HAProxy does") { proxy.reset(); }
  CHECK(proxy.ended() == Reason::kProxyLocal);
  CHECK_FALSE(stage.logged().contains("connection refused"));
}

TEST_CASE("a connection of the proxy itself may go on to a backend") {
  BehindProxy stage;
  Visitor proxy(stage);
  proxy.send(text_of(binary(kLocal, 0, {})) + hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
}

TEST_CASE("the firewall judges the client that a header names") {
  BehindProxy stage;
  stage.publish(
      Stage::policy_of({policy::live_route("*", test::address_of(stage.backend))}, {},
                       {.ips = {IpAddress::v4(0xc0000201)}, .cidrs = {}, .countries = {}}));
  Visitor proxy(stage);
  proxy.send(kLine + hello());
  CHECK(proxy.end() == ECONNRESET);
  CHECK(proxy.ended() == Reason::kBlockedIp);
  CHECK(stage.logged().contains("client=192.0.2.1:51000 via=127.0.0.1:"));
}

TEST_CASE("a header has its own time, and the hello's begins after it") {
  BehindProxy stage;
  stage.listener.proxy_header->timeout = 5s;
  stage.listener.hello_timeout = 10s;
  Visitor proxy(stage);
  SECTION("too late") {
    proxy.send(kLine.substr(0, 20));
    proxy.pass(4s);
    CHECK(proxy.session().is_ending() == false);
    proxy.pass(6s);
    CHECK(proxy.ended() == Reason::kProxyTimeout);
  }
  SECTION("in time") {
    proxy.send(kLine);
    test::turn_until(*stage.loop, [&] { return proxy.facts().is_conveyed(); });
    proxy.pass(6s);
    testing::turn(stage);
    REQUIRE_FALSE(stage.sessions.empty());
    proxy.pass(11s);
    CHECK(proxy.ended() == Reason::kHelloTimeout);
  }
}

TEST_CASE("a proxy that leaves in the header, or an order, ends the wait for it") {
  BehindProxy stage;
  Visitor proxy(stage);
  proxy.send(kLine.substr(0, 20));
  testing::turn(stage);
  Reason expected{};
  SECTION("close") {
    proxy.fd.reset();
    expected = Reason::kClientClosed;
  }
  SECTION("reset") {
    proxy.reset();
    expected = Reason::kClientReset;
  }
  SECTION("order") {
    proxy.session().interrupt(Reason::kShutdown);
    expected = Reason::kShutdown;
  }
  CHECK(proxy.ended() == expected);
}

// ---- silence

namespace {

// A silent client is taken to a pool of the stage's backend.
struct ServerFirst : Stage {
  ServerFirst() {
    listener.hello_timeout = 60s;
    listener.silent = {.after = 20s, .pool = "greeters"};
    policy::LivePools pools;
    pools.emplace("greeters", std::make_shared<const policy::LivePool>(
                                  testing::pool_of({test::address_of(backend)}, {}, "greeters"),
                                  policy::ResolvedNames(), nullptr, Instant()));
    publish(policy_of({policy::live_route("*", test::address_of(backend))}, pools));
  }
};

}  // namespace

TEST_CASE("a client that says nothing hears the server first") {
  ServerFirst stage;
  Visitor client(stage);
  client.pass(10s);
  testing::turn(stage);
  CHECK_FALSE(client.facts().has_way());
  client.pass(21s);
  const Fd backend = accept(stage, stage.backend);
  testing::send(backend, "220 ready\r\n");
  CHECK(client.receive(11) == "220 ready\r\n");
  CHECK(client.facts().way == traffic::Way::kSilent);
  client.send("EHLO a\r\n");
  CHECK(testing::receive(stage, backend, 8) == "EHLO a\r\n");
}

TEST_CASE("a proxy that need not send a header may convey nothing, not even a byte") {
  ServerFirst stage;
  stage.listener.proxy_header = {.from = {IpPrefix::parse("127.0.0.1/32").value()},
                                 .is_required = GENERATE(false, true)};
  Visitor proxy(stage);
  SECTION("silence from the start") {
    proxy.pass(21s);
    if (stage.listener.proxy_header->is_required) {
      CHECK(proxy.ended() == Reason::kProxyTimeout);
      return;
    }
  }
  SECTION("a header, and silence behind it") {
    proxy.send(kLine);
    test::turn_until(*stage.loop, [&] { return proxy.facts().is_conveyed(); });
    proxy.pass(21s);
  }
  const Fd backend = accept(stage, stage.backend);
  CHECK(proxy.facts().way == traffic::Way::kSilent);
}

TEST_CASE("a client that has begun is waited for as ever") {
  ServerFirst stage;
  Visitor client(stage);
  testing::turn(stage);
  client.send(hello().substr(0, 1));
  test::turn_until(*stage.loop, [&] { return client.facts().has_spoken; });
  client.pass(30s);
  testing::turn(stage);
  client.send(hello().substr(1));
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
  CHECK(client.facts().way == traffic::Way::kRoute);
}

TEST_CASE("a client that leaves in silence, or an order, ends the wait for its first byte") {
  ServerFirst stage;
  Visitor client(stage);
  testing::turn(stage);
  Reason expected{};
  SECTION("close") {
    client.fd.reset();
    expected = Reason::kClientClosed;
  }
  SECTION("reset") {
    client.reset();
    expected = Reason::kClientReset;
  }
  SECTION("order") {
    client.session().interrupt(Reason::kShutdown);
    expected = Reason::kShutdown;
  }
  CHECK(client.ended() == expected);
}

// ---- PostgreSQL

namespace {

const std::string kSslRequest = "\0\0\0\x08\x04\xd2\x16\x2f"s;
const std::string kGssEncRequest = "\0\0\0\x08\x04\xd2\x16\x30"s;
const std::string kStartup = "\0\0\0\x14\0\x03\0\0user\0alice\0\0"s;
const std::string kCancel = "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02"s;

struct Postgres : Stage {
  Postgres() {
    listener.starttls = policy::Starttls::kPostgres;
    policy::LivePools pools;
    pools.emplace("plain", std::make_shared<const policy::LivePool>(
                               testing::pool_of({test::address_of(backend)}, {}, "plain"),
                               policy::ResolvedNames(), nullptr, Instant()));
    publish(policy_of({policy::live_route("*", test::address_of(backend))}, pools));
  }
};

}  // namespace

TEST_CASE("PostgreSQL's request for TLS is answered, and the hello is read behind it") {
  Postgres stage;
  Visitor client(stage);
  SECTION("at once") { client.send(kSslRequest); }
  SECTION("byte by byte") { client.dribble(kSslRequest); }
  SECTION("after one for GSS, which is declined") {
    client.send(kGssEncRequest);
    CHECK(client.receive(1) == "N");
    client.send(kSslRequest);
  }
  CHECK(client.receive(1) == "S");
  client.send(hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, 8) == kSslRequest);
  testing::send(backend, "S");
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
  CHECK(client.facts().name == "app.example.com");
}

TEST_CASE("what stands behind a request before its answer is refused") {
  Postgres stage;
  Visitor client(stage);
  SECTION("a byte") { client.send(kSslRequest + "\x16"); }
  SECTION("a byte behind one for GSS") { client.send(kGssEncRequest + "\x16"); }
  SECTION("GSS again") {
    client.send(kGssEncRequest);
    CHECK(client.receive(1) == "N");
    client.send(kGssEncRequest);
  }
  CHECK(client.ended() == Reason::kStarttls);
}

TEST_CASE("a client that asks for no TLS goes to the pool for such, or nowhere") {
  Postgres stage;
  const std::string first = GENERATE(kStartup, kCancel);
  const bool has_pool = GENERATE(false, true);
  if (has_pool) stage.listener.not_tls = "plain";
  Visitor client(stage);
  client.send(first);
  if (!has_pool) {
    CHECK(client.ended() == Reason::kNotTls);
    return;
  }
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, first.size()) == first);
  CHECK(client.facts().route() == "not_tls");
}

TEST_CASE("a hello without a request passes, and the backend is not asked either") {
  Postgres stage;
  Visitor client(stage);
  client.dribble(hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, hello().size()) == hello());
}

TEST_CASE("who has asked for TLS must begin it, in time") {
  Postgres stage;
  stage.listener.not_tls = "plain";
  Visitor client(stage);
  client.send(kSslRequest);
  CHECK(client.receive(1) == "S");
  SECTION("another protocol") {
    client.send(kStartup);
    CHECK(client.ended() == Reason::kNotTls);
  }
  SECTION("silence") {
    client.pass(stage.listener.hello_timeout + 1s);
    CHECK(client.ended() == Reason::kHelloTimeout);
  }
}

TEST_CASE("a PROXY header, PostgreSQL's request and the hello come one after the other") {
  Postgres stage;
  stage.listener.proxy_header = {.from = {IpPrefix::parse("127.0.0.1/32").value()}};
  Visitor client(stage);
  client.send(header_v2() + kSslRequest);
  CHECK(client.receive(1) == "S");
  CHECK(client.facts().is_conveyed());
  client.send(hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(testing::receive(stage, backend, 8) == kSslRequest);
}

}  // namespace mc::proxy
