// SPDX-License-Identifier: Apache-2.0
#include "proxy/backend_preamble.hpp"

#include <chrono>
#include <string>
#include <variant>

#include "proxy_protocol/header.hpp"
#include "support/catch.hpp"
#include "unit/proxy/visitor.hpp"
#include "unit/proxy_protocol/header_builder.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::proxy {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::accept;
using testing::pool_of;
using testing::receive;
using testing::Stage;
using testing::text_of;
using testing::Visitor;

const std::string kLine = "PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n";
const std::string kSslRequest = "\0\0\0\x08\x04\xd2\x16\x2f"s;

std::string local() { return text_of(proxy_protocol::testing::binary(0x20, 0, {})); }
std::string hello() { return text_of(tls::testing::typical_hello().stream()); }

// A stage whose names lead to a pool that sends headers; the peer may send one, too.
struct WithPreamble : Stage {
  explicit WithPreamble(policy::SendProxy version, policy::ProxyTlvs tlvs = {}) {
    listener.proxy_header = {.from = {IpPrefix::parse("127.0.0.1/32").value()},
                             .is_required = false};
    publish_pool(
        pool_of({test::address_of(backend)}, {.send_proxy = version, .send_proxy_tlvs = tlvs}));
  }
};

// The header of version 2 that comes first; the stream is then at what follows.
proxy_protocol::Header read_header(Stage& stage, const Fd& backend) {
  std::string bytes = receive(stage, backend, 16);
  REQUIRE(bytes.size() == 16);
  const auto rest = static_cast<std::uint8_t>(bytes[15]);
  bytes += receive(stage, backend, rest);
  const auto parsed = proxy_protocol::parse(proxy_protocol::testing::bytes(bytes));
  REQUIRE(std::holds_alternative<proxy_protocol::Header>(parsed));
  return std::get<proxy_protocol::Header>(parsed);
}

std::string line_of(const SocketAddress& from, const SocketAddress& to) {
  return "PROXY TCP4 " + from.ip().to_string() + " " + to.ip().to_string() + " " +
         std::to_string(from.port()) + " " + std::to_string(to.port()) + "\r\n";
}

}  // namespace

TEST_CASE("a header of version 1 comes before the client's first byte") {
  WithPreamble stage(policy::SendProxy::kV1);
  Visitor client(stage);
  std::string before;
  std::string expected;
  SECTION("of a direct client") { expected = line_of(client.address(), client.server()); }
  SECTION("of one that a proxy names") { expected = before = kLine; }
  SECTION("of a proxy's own connection") {
    before = local();
    expected = "PROXY UNKNOWN\r\n";
  }
  client.send(before + hello());
  const Fd backend = accept(stage, stage.backend);
  CHECK(receive(stage, backend, expected.size()) == expected);
  CHECK(receive(stage, backend, hello().size()) == hello());
  testing::send(backend, "reply");
  CHECK(client.receive(5) == "reply");
  CHECK(client.facts().bytes_up == hello().size());
}

TEST_CASE("a header of version 2 comes before the client's first byte") {
  WithPreamble stage(policy::SendProxy::kV2);
  Visitor client(stage);
  std::string before;
  SECTION("of a direct client") {}
  SECTION("of one that a proxy names") { before = kLine; }
  SECTION("of a proxy's own connection") { before = local(); }
  client.send(before + hello());
  const Fd backend = accept(stage, stage.backend);
  const proxy_protocol::Header header = read_header(stage, backend);
  CHECK(header.is_local == (before == local()));
  if (before.empty()) {
    CHECK(header.addresses == proxy_protocol::Addresses{client.address(), client.server()});
  } else if (before == kLine) {
    CHECK(header.addresses->source.to_string() == "192.0.2.1:51000");
    CHECK(header.addresses->destination.to_string() == "198.51.100.2:443");
  }
  CHECK(header.authority.empty());
  CHECK(receive(stage, backend, hello().size()) == hello());
}

TEST_CASE("a header of version 2 says what the pool has it say") {
  WithPreamble stage(policy::SendProxy::kV2,
                     {.authority = true, .unique_id = true, .crc32c = true});
  Visitor client(stage);
  client.send(hello());
  const Fd backend = accept(stage, stage.backend);
  testing::await(stage, backend);
  char peeked[256];
  const ssize_t size = ::recv(backend.get(), peeked, sizeof peeked, MSG_PEEK | MSG_DONTWAIT);
  REQUIRE(size > 0);
  const std::string_view bytes(peeked, static_cast<std::size_t>(size));
  CHECK(bytes.contains("\x05\0\x03"s + client.facts().id().to_string()));  // PP2_TYPE_UNIQUE_ID
  CHECK(bytes.contains("\x03\0\x04"s));                                    // PP2_TYPE_CRC32C
  CHECK(read_header(stage, backend).authority == "app.example.com");
  CHECK(receive(stage, backend, hello().size()) == hello());
}

TEST_CASE("of a client that stays silent the backend hears at once") {
  WithPreamble stage(policy::SendProxy::kV1);
  stage.listener.silent = {.after = 1ms, .pool = "app"};
  Visitor client(stage);
  const Fd backend = accept(stage, stage.backend);
  const std::string expected = line_of(client.address(), client.server());
  CHECK(receive(stage, backend, expected.size()) == expected);
  testing::send(backend, "220 ready\r\n");
  CHECK(client.receive(11) == "220 ready\r\n");
}

TEST_CASE("a backend that was told of the client and left loses nothing for the next one") {
  WithPreamble stage(policy::SendProxy::kV1);
  const Fd second = testing::listening_socket();
  // The first listens for nobody: it refuses.
  Fd first(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress any = *SocketAddress::parse_listen("127.0.0.1:0");
  REQUIRE(::bind(first.get(), any.data(), any.size()) == 0);
  stage.publish_pool(pool_of({test::address_of(first), test::address_of(second)},
                             {.send_proxy = policy::SendProxy::kV1}));
  Visitor client(stage);
  client.send(hello());
  const Fd backend = accept(stage, second);
  const std::string expected = line_of(client.address(), client.server()) + hello();
  CHECK(receive(stage, backend, expected.size()) == expected);
  CHECK(client.facts().pooled->tries == 2);
}

// ---- PostgreSQL

namespace {

struct Postgres : Stage {
  Postgres() {
    listener.starttls = policy::Starttls::kPostgres;
    publish_pool(pool_of({test::address_of(backend), test::address_of(second)}));
  }

  Fd second = testing::listening_socket();
};

void ask_for_tls(const Visitor& client) {
  client.send(kSslRequest);
  REQUIRE(client.receive(1) == "S");
  client.send(hello());
}

}  // namespace

TEST_CASE("a backend is asked for TLS before it gets the hello, and its reply is not passed on") {
  Postgres stage;
  Visitor client(stage);
  ask_for_tls(client);
  const Fd backend = accept(stage, stage.backend);
  CHECK(receive(stage, backend, 8) == kSslRequest);
  for (int i = 0; i < 3; ++i) testing::turn(stage);
  char byte = 0;
  CHECK(::recv(backend.get(), &byte, 1, MSG_DONTWAIT) == -1);  // not before its reply
  testing::send(backend, "Shello");
  CHECK(receive(stage, backend, hello().size()) == hello());
  CHECK(client.receive(5) == "hello");
}

TEST_CASE("a backend that gives no TLS is given up for another, which gets every byte") {
  Postgres stage;
  Visitor client(stage);
  ask_for_tls(client);
  Fd first = accept(stage, stage.backend);
  CHECK(receive(stage, first, 8) == kSslRequest);
  SECTION("it declines") { testing::send(first, "N"); }
  SECTION("it closes") { first.reset(); }
  SECTION("it resets") {
    net::reset_on_close(first.get());
    first.reset();
  }
  SECTION("it says nothing in its time") { client.pass(stage.settings.connect_timeout - 900ms); }
  const Fd second = accept(stage, stage.second);
  CHECK(receive(stage, second, 8) == kSslRequest);
  testing::send(second, "S");
  CHECK(receive(stage, second, hello().size()) == hello());
  CHECK(client.facts().pooled->tries == 2);
  CHECK(stage.pool().backends()[0].state->counts.dial_failures == 1);
}

TEST_CASE("a pool of which no backend gives TLS is a dial that failed, and the log says why") {
  Postgres stage;
  Visitor client(stage);
  ask_for_tls(client);
  const Fd first = accept(stage, stage.backend);
  testing::send(first, "N");
  const Fd second = accept(stage, stage.second);
  testing::send(second, "N");
  CHECK(client.ended() == Reason::kDialFailed);
  CHECK(stage.logged().contains("the backend declined TLS"));
}

TEST_CASE("an order ends the wait for a backend's reply") {
  Postgres stage;
  Visitor client(stage);
  ask_for_tls(client);
  const Fd backend = accept(stage, stage.backend);
  CHECK(receive(stage, backend, 8) == kSslRequest);
  client.session().interrupt(Reason::kClosedByOperator);
  CHECK(client.ended() == Reason::kClosedByOperator);
  CHECK(stage.pool().backends()[0].state->counts.dial_failures == 0);
}

TEST_CASE("the header of a pool comes before the request for TLS") {
  Postgres stage;
  stage.publish_pool(
      pool_of({test::address_of(stage.backend)}, {.send_proxy = policy::SendProxy::kV1}));
  Visitor client(stage);
  ask_for_tls(client);
  const Fd backend = accept(stage, stage.backend);
  const std::string expected = line_of(client.address(), client.server()) + kSslRequest;
  CHECK(receive(stage, backend, expected.size()) == expected);
}

}  // namespace mc::proxy
