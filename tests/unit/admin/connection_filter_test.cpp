// SPDX-License-Identifier: Apache-2.0
#include "admin/connection_filter.hpp"

#include "support/catch.hpp"

namespace mc::admin {
namespace {

const control::Listeners kListeners({{.name = ":443",
                                      .addr = *SocketAddress::parse_listen(":443")}});

}  // namespace

TEST_CASE("a filter is read from the words that are not empty") {
  const ConnectionFilterText text{
      .listener = ":443", .sni = "*.Example.com", .source = "198.51.100.0/24", .id = "0-17"};
  CHECK_FALSE(text.empty());
  const auto filter = read_filter(text, kListeners);
  REQUIRE(filter.has_value());
  CHECK(filter->listener == 0U);
  CHECK(filter->sni->text() == "*.example.com");
  CHECK(filter->source == IpPrefix::parse("198.51.100.0/24").value());
  CHECK(filter->id == traffic::ConnectionId{.worker = 0, .number = 17});
  CHECK_FALSE(filter->backend.has_value());
}

TEST_CASE("an address is a block of one") {
  CHECK(read_filter({.source = "192.0.2.1"}, kListeners)->source ==
        IpPrefix::parse("192.0.2.1/32").value());
  CHECK(read_filter({.source = "2001:db8::1"}, kListeners)->source ==
        IpPrefix::parse("2001:db8::1/128").value());
}

TEST_CASE("every fault of a filter is reported, with its field") {
  const auto filter =
      read_filter({.sni = "a..b", .source = "x", .backend = "y", .id = "z"}, kListeners);
  REQUIRE_FALSE(filter.has_value());
  CHECK(filter.error().kind == control::RefusalKind::kInvalid);
  REQUIRE(filter.error().violations.size() == 4);
  CHECK(filter.error().violations[0].field.name == "sni");
  CHECK(filter.error().violations[3].field.name == "id");
}

TEST_CASE("a pool is a name, of an existing pool or not") {
  CHECK(read_filter({.pool = "App-1"}, kListeners)->pool == "App-1");
  const auto filter = read_filter({.pool = "no name"}, kListeners);
  REQUIRE_FALSE(filter.has_value());
  REQUIRE(filter.error().violations.size() == 1);
  CHECK(filter.error().violations[0].field.name == "pool");
  CHECK(ConnectionFilterText{.pool = "app"}.describe() == "pool=app");
  CHECK_FALSE(ConnectionFilterText{.pool = "app"}.empty());
}

TEST_CASE("a listener that is not there is not found") {
  const auto filter = read_filter({.listener = ":444"}, kListeners);
  REQUIRE_FALSE(filter.has_value());
  CHECK(filter.error().kind == control::RefusalKind::kNotFound);
  CHECK(filter.error().message.contains(":443"));
}

TEST_CASE("the log names the words of a filter, or that it means all") {
  CHECK(ConnectionFilterText{}.describe() == "all");
  CHECK(ConnectionFilterText{.listener = ":443", .sni = "*"}.describe() == "listener=:443 sni=*");
}

}  // namespace mc::admin
