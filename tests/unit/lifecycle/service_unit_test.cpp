// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/service_unit.hpp"

#include <string>

#include "support/catch.hpp"

using mc::SocketAddress;
using mc::lifecycle::parse_service_unit;

namespace {

// As systemd 252 prints it.
const std::string kService =
    "Id=mc-proxy.service\nLoadState=loaded\nActiveState=active\nUser=mc-proxy\n"
    "ExecStart={ path=/usr/bin/mc-proxy ; argv[]=/usr/bin/mc-proxy server --keeper -c "
    "/srv/mc-proxy/mc-proxy.toml ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; "
    "code=(null) ; status=0/0 }\n"
    "RuntimeDirectory=mc-proxy mc-proxy/more\nAmbientCapabilities=cap_net_bind_service\n"
    "NFileDescriptorStore=2\nLimitNOFILE=1048576\nLimitMEMLOCK=infinity\n";

}  // namespace

TEST_CASE("The service's unit is read as systemctl shows it") {
  const auto unit = parse_service_unit(kService);
  REQUIRE(unit.has_value());
  CHECK(unit->name == "mc-proxy.service");
  CHECK(unit->user == "mc-proxy");
  CHECK(unit->command == "/usr/bin/mc-proxy server --keeper -c /srv/mc-proxy/mc-proxy.toml");
  CHECK(unit->runtime_directories ==
        std::vector<std::string>{"/run/mc-proxy", "/run/mc-proxy/more"});
  CHECK(unit->binds_low_ports);
  CHECK(unit->stores_sockets);
  CHECK(unit->descriptors_max == rlim_t{1048576});
  CHECK(unit->locked_memory_max == RLIM_INFINITY);
  CHECK(unit->sockets.empty());
}

TEST_CASE("Only an active socket unit holds addresses") {
  const std::string socket =
      "\nId=mc-proxy.socket\nLoadState=loaded\nActiveState=active\nListen=[::]:443 (Stream)\n"
      "Listen=192.0.2.1:8443 (Stream)\nListen=/run/x.sock (Stream)\n";
  const auto unit = parse_service_unit(kService + socket);
  REQUIRE(unit.has_value());
  CHECK(unit->sockets == std::vector{SocketAddress::parse("[::]:443").value(),
                                     SocketAddress::parse("192.0.2.1:8443").value()});
  std::string inactive = socket;
  inactive.replace(inactive.find("=active"), 7, "=inactive");
  CHECK(parse_service_unit(kService + inactive)->sockets.empty());
}

TEST_CASE("Without a service there is no unit") {
  CHECK_FALSE(parse_service_unit("").has_value());
  CHECK_FALSE(parse_service_unit("Id=mc-proxy.service\nLoadState=not-found\nUser=\n").has_value());
  CHECK_FALSE(parse_service_unit("Id=mc-proxy.socket\nLoadState=loaded\n").has_value());
  CHECK_FALSE(parse_service_unit("no\n\nsense=\n=\n\n\n").has_value());
}

TEST_CASE("A unit without a user or capabilities is root's, and has none") {
  const auto unit = parse_service_unit("Id=a.service\nLoadState=loaded\nUser=\nLimitNOFILE=x\n");
  REQUIRE(unit.has_value());
  CHECK(unit->user.empty());
  CHECK_FALSE(unit->binds_low_ports);
  CHECK_FALSE(unit->stores_sockets);
  CHECK_FALSE(unit->descriptors_max.has_value());
}

TEST_CASE("A unit uses the configuration that its command names, under whatever name") {
  const auto unit = parse_service_unit(kService);
  REQUIRE(unit.has_value());
  CHECK(unit->uses("/srv/mc-proxy/mc-proxy.toml"));
  CHECK_FALSE(unit->uses("/srv/mc-proxy/other.toml"));
  CHECK_FALSE(unit->uses("mc-proxy.toml"));
  CHECK_FALSE(unit->uses(""));
}
