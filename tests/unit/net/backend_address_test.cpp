// SPDX-License-Identifier: Apache-2.0
#include "net/backend_address.hpp"

#include <net/if.h>

#include <cstring>
#include <string>
#include <utility>

#include "net/unix_socket.hpp"
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
  CHECK(address->ip_address() == SocketAddress::parse("[fe80::1%1]:443").value());
}

TEST_CASE("a backend without an interface is what it says") {
  for (const char* text : {"192.0.2.1:443", "[2001:db8::1]:443"}) {
    const auto backend = BackendAddress::parse(text);
    REQUIRE(backend.has_value());
    CHECK(backend->to_string() == text);
    CHECK(backend->resolve().value().ip_address() == SocketAddress::parse(text).value());
  }
  CHECK_FALSE(BackendAddress::parse("[2001:db8::1%eth0]:443").has_value());
  CHECK_FALSE(BackendAddress::parse("[fe80::1%a/b]:443").has_value());
  CHECK_FALSE(BackendAddress::parse("192.0.2.1").has_value());
}

TEST_CASE("a backend may be a Unix socket") {
  const auto backend = BackendAddress::parse("unix:/run/app.sock");
  REQUIRE(backend.has_value());
  CHECK(backend->kind() == BackendAddress::Kind::kUnix);
  CHECK(backend->path() == "/run/app.sock");
  CHECK(backend->to_string() == "unix:/run/app.sock");
  CHECK(backend->interface().empty());
  CHECK(*backend != BackendAddress::parse("unix:/run/other.sock").value());
  const auto address = backend->resolve();
  REQUIRE(address.has_value());
  CHECK(address->is_unix());
  CHECK(std::string(reinterpret_cast<const sockaddr_un*>(address->data())->sun_path) ==
        "/run/app.sock");
}

TEST_CASE("the longest path of a Unix socket is taken whole, and a longer one is an error") {
  const std::string longest = "/" + std::string(net::kUnixPathMax - 1, 'x');
  const auto backend = BackendAddress::parse("unix:" + longest);
  REQUIRE(backend.has_value());
  const auto address = backend->resolve().value();
  const auto* const in_kernel_form = reinterpret_cast<const sockaddr_un*>(address.data());
  CHECK(std::string(in_kernel_form->sun_path) == longest);
  CHECK(address.size() == sizeof(sockaddr_un));
  const auto too_long = BackendAddress::parse("unix:" + longest + "x");
  REQUIRE_FALSE(too_long.has_value());
  CHECK(too_long.error().message.contains("has at most 107 bytes, this has 108"));
}

TEST_CASE("a backend may be a name, in lower case, which only DNS resolves") {
  for (const auto& [text, host] :
       {std::pair("app.internal:443", "app.internal"), std::pair("App:443", "app"),
        std::pair("_x.app.:443", "_x.app"), std::pair("1and1.example:443", "1and1.example")}) {
    const auto backend = BackendAddress::parse(text);
    REQUIRE(backend.has_value());
    CHECK(backend->kind() == BackendAddress::Kind::kName);
    CHECK(backend->host() == host);
    CHECK(backend->port() == 443);
    CHECK(backend->to_string() == std::string(host) + ":443");
    CHECK(BackendAddress::parse(backend->to_string()).value() == *backend);
    CHECK_FALSE(backend->resolve().has_value());
  }
}

TEST_CASE("what is no address, path or name of a backend is an error that has the text") {
  for (const char* const text :
       {"unix:app.sock", "unix:", "app.internal", "app.internal:", "app.internal:0",
        "app.internal:0443", "app.internal:+443", "app.internal:65536", "app internal:443",
        "192.0.2:443", "192.0.2.256:443", ":443", "2001:db8::1:443", ""}) {
    const auto backend = BackendAddress::parse(text);
    CHECK_FALSE(backend.has_value());
    if (!backend.has_value()) CHECK(backend.error().message.contains(text));
  }
  CHECK_FALSE(BackendAddress::parse(std::string_view("unix:/a\0b", 9)).has_value());
}

TEST_CASE("what connect(2) takes is the address of its family") {
  for (const char* const text : {"192.0.2.1:443", "[2001:db8::1]:443"}) {
    const SocketAddress address = SocketAddress::parse(text).value();
    const ConnectAddress connect(address);
    CHECK(connect.family() == address.family());
    CHECK_FALSE(connect.is_unix());
    CHECK(connect.size() == address.size());
    CHECK(std::memcmp(connect.data(), address.data(), address.size()) == 0);
    CHECK(connect.ip_address() == address);
  }
}
