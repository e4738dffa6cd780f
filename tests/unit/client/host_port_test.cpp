// SPDX-License-Identifier: Apache-2.0
#include "client/host_port.hpp"

#include <string>
#include <string_view>

#include "support/catch.hpp"

using mc::client::HostPort;

namespace {

std::string parsed(const std::string& address) {
  const auto host_port = HostPort::parse(address);
  return host_port ? host_port->host + " " + host_port->port : host_port.error().message;
}

}  // namespace

TEST_CASE("the address of a server is a host and a port") {
  CHECK(parsed("localhost:9090") == "localhost 9090");
  CHECK(parsed("192.0.2.1:1") == "192.0.2.1 1");
  CHECK(parsed("[2001:db8::1]:65535") == "2001:db8::1 65535");
  CHECK(parsed("[fe80::1%eth0]:9090") == "fe80::1%eth0 9090");
}

TEST_CASE("what is no address of a server is refused, with what is missing") {
  CHECK(parsed("localhost").contains("the port is missing"));
  CHECK(parsed("[::1]").contains("the port is missing"));
  CHECK(parsed("localhost:").contains("the port is not a number from 1 to 65535"));
  CHECK(parsed("localhost:0").contains("the port is not a number from 1 to 65535"));
  CHECK(parsed("localhost:65536").contains("the port is not a number from 1 to 65535"));
  CHECK(parsed("localhost:90x").contains("the port is not a number from 1 to 65535"));
  CHECK(parsed("::1:9090").contains("an IPv6 address needs brackets"));
  CHECK(parsed(":9090").contains("the host is missing"));
  CHECK(parsed("http://a:9090").contains("the host is neither a name nor an IP address"));
}
