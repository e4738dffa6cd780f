// SPDX-License-Identifier: Apache-2.0
#include "net/backend_address.hpp"

#include <net/if.h>

#include <string>

#include "support/catch.hpp"

using namespace mc;

TEST_CASE("a backend keeps the name of its interface, whether there is one or not") {
  const auto backend = BackendAddress::parse("[fe80::1%no-such-if]:443");
  REQUIRE(backend.has_value());
  CHECK(backend->to_string() == "[fe80::1%no-such-if]:443");
  CHECK(backend->interface() == "no-such-if");
  CHECK_FALSE(backend->resolve().has_value());
  CHECK(*backend == BackendAddress::parse("[fe80:0::1%no-such-if]:443").value());
  CHECK_FALSE(*backend == BackendAddress::parse("[fe80::1%other]:443").value());
  CHECK_FALSE(*backend == BackendAddress::parse("[fe80::1]:443").value());
}

TEST_CASE("a backend is resolved to the interface that has the name now") {
  char name[IF_NAMESIZE];
  REQUIRE(if_indextoname(1, name) != nullptr);
  const auto backend = BackendAddress::parse("[fe80::1%" + std::string(name) + "]:443");
  REQUIRE(backend.has_value());
  const auto address = backend->resolve();
  REQUIRE(address.has_value());
  CHECK(*address == SocketAddress::parse("[fe80::1%1]:443").value());
}

TEST_CASE("a backend without an interface is what it says") {
  for (const char* text : {"192.0.2.1:443", "[2001:db8::1]:443"}) {
    const auto backend = BackendAddress::parse(text);
    REQUIRE(backend.has_value());
    CHECK(backend->to_string() == text);
    CHECK(backend->resolve() == SocketAddress::parse(text).value());
  }
  CHECK_FALSE(BackendAddress::parse("[2001:db8::1%eth0]:443").has_value());
  CHECK_FALSE(BackendAddress::parse("[fe80::1%a/b]:443").has_value());
  CHECK_FALSE(BackendAddress::parse("192.0.2.1").has_value());
}
