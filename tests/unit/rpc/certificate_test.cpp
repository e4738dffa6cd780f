// SPDX-License-Identifier: Apache-2.0
#include "rpc/certificate.hpp"

#include "support/catch.hpp"
#include "unit/rpc/workshop.hpp"

using namespace mc::rpc;
using namespace mc::rpc::test;

TEST_CASE("a certificate is described for people") {
  const Workshop workshop;
  workshop.issue({.name = "server", .from = "20260101000000Z", .until = "20270101000000Z"});
  const auto info = describe_certificate(workshop.pem("server"));
  REQUIRE(info.has_value());
  CHECK(info->subject == "CN=server");
  CHECK(info->issuer == "CN=ca");
  CHECK(info->names == "DNS:localhost, IP Address:127.0.0.1");
  CHECK(format_time(info->not_before) == "2026-01-01 00:00:00 UTC");
  CHECK(format_time(info->not_after) == "2027-01-01 00:00:00 UTC");

  SECTION("by its names where it has no subject") {
    workshop.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj / "
        "-addext subjectAltName=DNS:a.example,IP:192.0.2.1 -keyout n.key -out n.pem");
    CHECK(describe_certificate(workshop.pem("n"))->subject ==
          "DNS:a.example, IP Address:192.0.2.1");
  }
  SECTION("or not at all") {
    const auto missing = describe_certificate(workshop.pem("none"));
    REQUIRE(!missing.has_value());
    CHECK(missing.error().message.starts_with("certificate \"/"));
  }
}
