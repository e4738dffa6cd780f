// SPDX-License-Identifier: Apache-2.0
#include "tls/alert.hpp"

#include <span>
#include <variant>

#include "support/catch.hpp"
#include "tls/server_reply.hpp"
#include "unit/tls/hello_builder.hpp"

using namespace mc::tls;
using namespace mc::tls::testing;

TEST_CASE("an alert's record is plaintext, fatal, and of seven bytes") {
  const auto record = alert_record(kUnrecognizedName);
  CHECK(Bytes(record.begin(), record.end()) == Bytes{21, 3, 3, 0, 2, 2, 112});
}

TEST_CASE("a client reads the alert that is sent") {
  for (int number = 0; number < 256; ++number) {
    const Alert alert{static_cast<std::uint8_t>(number)};
    const auto record = alert_record(alert);
    CHECK(std::get<Alert>(parse_server_reply(record)) == alert);
  }
}

TEST_CASE("an alert has the name of its RFC") {
  CHECK(to_string(kCloseNotify) == "close_notify");
  CHECK(to_string(Alert{40}) == "handshake_failure");
  CHECK(to_string(kMissingExtension) == "missing_extension");
  CHECK(to_string(kUnrecognizedName) == "unrecognized_name");
  CHECK(to_string(Alert{200}) == "200");
}
