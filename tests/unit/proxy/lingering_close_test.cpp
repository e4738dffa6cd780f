// SPDX-License-Identifier: Apache-2.0
#include "proxy/lingering_close.hpp"

#include <cerrno>
#include <string>

#include "proxy/limits.hpp"
#include "support/catch.hpp"
#include "unit/proxy/visitor.hpp"
#include "unit/tls/hello_builder.hpp"

namespace mc::proxy {
namespace {

using namespace std::string_literals;
using testing::Stage;
using testing::text_of;
using testing::Visitor;

const std::string kUnrecognizedName = "\x15\x03\x03\0\x02\x02\x70"s;
const std::string kMissingExtension = "\x15\x03\x03\0\x02\x02\x6d"s;

std::string hello() { return text_of(tls::testing::typical_hello().stream()); }
std::string hello_without_name() { return text_of(tls::testing::HelloBuilder().stream()); }

// No name has a route.
struct Refusing : Stage {
  explicit Refusing(policy::Refusal refusal = policy::Refusal::kAlert) {
    listener.refusal = refusal;
    publish(policy_of({}));
  }
};

}  // namespace

TEST_CASE("a client that is refused by an alert reads it and the end of the stream") {
  Refusing stage;
  Visitor client(stage);
  SECTION("its name has no route") {
    client.send(hello());
    CHECK(client.receive(7) == kUnrecognizedName);
    CHECK(client.end() == 0);
    client.fd.reset();
    CHECK(client.ended() == Reason::kNoRoute);
  }
  SECTION("it sends no name") {
    client.send(hello_without_name());
    CHECK(client.receive(7) == kMissingExtension);
    CHECK(client.end() == 0);
    client.fd.reset();
    CHECK(client.ended() == Reason::kNoSni);
  }
}

TEST_CASE("what a client goes on to send does not cost it the alert") {
  Refusing stage;
  Visitor client(stage);
  client.send(hello() + std::string(1000, 'x'));
  for (int i = 0; i < 8; ++i) {
    testing::turn(stage);
    client.send(std::string(1000, 'x'));
  }
  CHECK(client.receive(7) == kUnrecognizedName);
  CHECK(client.end() == 0);
  REQUIRE(::shutdown(client.fd.get(), SHUT_WR) == 0);
  CHECK(client.ended() == Reason::kNoRoute);
}

TEST_CASE("a client that never closes is not waited for longer than kLingerMax") {
  Refusing stage;
  Visitor client(stage);
  client.send(hello());
  CHECK(client.receive(7) == kUnrecognizedName);
  client.pass(kLingerMax / 2);
  testing::turn(stage);
  REQUIRE_FALSE(stage.sessions.empty());
  client.pass(kLingerMax + kLingerMax);
  CHECK(client.ended() == Reason::kNoRoute);
}

TEST_CASE("a client that sends without end is not read longer than kLingerBytesMax") {
  Refusing stage;
  Visitor client(stage);
  client.send(hello());
  CHECK(client.receive(7) == kUnrecognizedName);
  const std::string more(1024, 'x');
  std::size_t sent = 0;
  while (!stage.sessions.empty() && sent < 4 * kLingerBytesMax) {
    const ssize_t taken =
        ::send(client.fd.get(), more.data(), more.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken > 0) sent += static_cast<std::size_t>(taken);
    testing::turn(stage);
  }
  CHECK(stage.sessions.empty());
}

TEST_CASE("an order ends a lingering close, and the connection keeps its reason") {
  Refusing stage;
  Visitor client(stage);
  client.send(hello());
  CHECK(client.receive(7) == kUnrecognizedName);
  client.session().interrupt(Reason::kShutdown);
  CHECK(client.ended() == Reason::kNoRoute);
}

TEST_CASE("a client that is refused by a reset gets nothing else") {
  Refusing stage(policy::Refusal::kReset);
  Visitor client(stage);
  client.send(GENERATE(hello(), hello_without_name()));
  testing::await(stage, client.fd);
  char byte = 0;
  CHECK(::recv(client.fd.get(), &byte, 1, MSG_DONTWAIT) == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("what is no good hello gets no alert") {
  Refusing stage;
  Visitor client(stage);
  std::string bytes = hello();
  Reason expected{};
  SECTION("no TLS") {
    bytes = "GET / HTTP/1.1\r\n\r\n";
    expected = Reason::kNotTls;
  }
  SECTION("a malformed handshake") {
    bytes[5] = '\x63';  // its type
    expected = Reason::kMalformedHandshake;
  }
  client.send(bytes);
  CHECK(client.receive(7).empty());
  CHECK(client.ended() == expected);
}

}  // namespace mc::proxy
