// SPDX-License-Identifier: Apache-2.0
#include "tls/server_reply.hpp"

#include <span>

#include "support/catch.hpp"
#include "unit/tls/hello_builder.hpp"

using namespace mc::tls;
using namespace mc::tls::testing;

namespace {

constexpr std::uint8_t kAlertRecord = 21;

std::string described(const Bytes& stream) {
  const ServerReply reply = parse_server_reply(stream);
  if (const auto* const alert = std::get_if<Alert>(&reply)) return "alert " + to_string(*alert);
  if (std::holds_alternative<ServerHello>(reply)) return "ServerHello";
  return std::holds_alternative<ReplyIncomplete>(reply) ? "incomplete" : "not TLS";
}

Bytes alert(std::uint8_t level, std::uint8_t description) {
  return record({level, description}, kAlertRecord, 0x0303);
}

Bytes server_hello() { return record(handshake(Bytes(70, 3), 2), kHandshakeRecord, 0x0303); }

Bytes first(const Bytes& stream, std::size_t size) {
  return {stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(size)};
}

}  // namespace

TEST_CASE("a ServerHello is known by its first six bytes") {
  const Bytes reply = server_hello();
  for (std::size_t size = 0; size < 6; ++size) CHECK(described(first(reply, size)) == "incomplete");
  for (std::size_t size = 6; size <= reply.size(); ++size) {
    CHECK(described(first(reply, size)) == "ServerHello");
  }
}

TEST_CASE("a fatal alert is known by its name, or by its number") {
  CHECK(described(alert(2, 112)) == "alert unrecognized_name");
  CHECK(described(alert(2, 40)) == "alert handshake_failure");
  CHECK(described(alert(2, 70)) == "alert protocol_version");
  CHECK(described(alert(2, 200)) == "alert 200");
  CHECK(described(alert(1, 0)) == "alert close_notify");
  CHECK(std::get<Alert>(parse_server_reply(alert(2, 112))) == kUnrecognizedName);
  const Bytes whole = alert(2, 112);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK(described(first(whole, size)) == "incomplete");
  }
}

TEST_CASE("a warning says nothing, and the reply is what follows") {
  const Bytes warning = alert(1, 112);
  CHECK(described(warning) == "incomplete");
  CHECK(described(join({warning, server_hello()})) == "ServerHello");
  CHECK(described(join({warning, alert(2, 40)})) == "alert handshake_failure");
}

TEST_CASE("a reply of nothing but warnings is not waited for without end") {
  Bytes warnings;
  while (warnings.size() + 7 < kReplyBytesMax) warnings = join({warnings, alert(1, 90)});
  CHECK(described(warnings) == "incomplete");
  while (warnings.size() < kReplyBytesMax) warnings = join({warnings, alert(1, 90)});
  CHECK(described(warnings) == "not TLS");
}

TEST_CASE("what no TLS server sends is told from a reply that is not complete") {
  CHECK(described(bytes("H")) == "not TLS");
  CHECK(described(bytes("SSH-2.0-OpenSSH_9.2")) == "not TLS");
  CHECK(described({22, 'x'}) == "not TLS");
  CHECK(described(record({}, kHandshakeRecord)) == "not TLS");
  CHECK(described({22, 3, 3, 0x40, 0x01}) == "not TLS");
  CHECK(described(record(handshake({}, 1), kHandshakeRecord)) == "not TLS");
  CHECK(described(record({2, 40, 0}, kAlertRecord)) == "not TLS");
  CHECK(described(record({3, 40}, kAlertRecord)) == "not TLS");
  CHECK(described(record(bytes("data"), 23)) == "not TLS");
}
