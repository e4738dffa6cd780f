// SPDX-License-Identifier: Apache-2.0
#include "control/state.hpp"

#include "support/catch.hpp"
#include "unit/policy/routes.hpp"

namespace mc::control {
namespace {

config::Listener listener(const char* name) {
  return {.name = name, .addr = *SocketAddress::parse_listen(name)};
}

}  // namespace

TEST_CASE("a listener is found by its name, and by its address however that is written") {
  const Listeners listeners({listener(":443"), listener("127.0.0.1:8443")});
  CHECK(listeners.find(":443") == 0U);
  CHECK(listeners.find("[::]:443") == 0U);
  CHECK(listeners.find("127.0.0.1:8443") == 1U);
  CHECK_FALSE(listeners.find("0.0.0.0:8443").has_value());
  CHECK_FALSE(listeners.find(":0").has_value());
  CHECK_FALSE(listeners.find("").has_value());
}

TEST_CASE("only the configuration's spelling is a name") {
  const Listeners listeners({listener(":443")});
  CHECK(listeners.find_name(":443") == 0U);
  CHECK_FALSE(listeners.find_name("[::]:443").has_value());
}

TEST_CASE("a name that no listener has is answered with those that there are") {
  const Listeners listeners({listener(":443"), listener(":8443")});
  CHECK(listeners.unknown(":44\n3") == R"(no listener ":44\n3"; there are ":443", ":8443")");
}

TEST_CASE("a backend that is a listener is recognised, whatever address of this machine it names") {
  const Listeners listeners({listener("127.0.0.1:8443"), listener(":443")});
  const auto reached = [&listeners](const char* backend) {
    return listeners.reached_by(*BackendAddress::parse(backend));
  };
  CHECK(reached("127.0.0.1:8443") == 0U);
  CHECK(reached("127.0.0.1:443") == 1U);
  CHECK(reached("[::1]:443") == 1U);
  CHECK_FALSE(reached("127.0.0.1:8080").has_value());
  CHECK_FALSE(reached("192.0.2.1:443").has_value());  // of no machine (RFC 5737)
}

TEST_CASE("the policy of a state has its revision, its rules and a table for each listener") {
  State state;
  state.revision = 3;
  state.routes.push_back(policy::RouteTable::build(
      {policy::live_route("*", *BackendAddress::parse("192.0.2.1:443"))}));
  state.firewall = policy::Firewall({.ips = {IpAddress::parse("192.0.2.9").value()}}, nullptr);
  const auto policy = state.policy();
  CHECK(policy->revision() == 3);
  CHECK(policy->route(0, {.name = "app.example.com"}) != nullptr);
  CHECK(policy->admit(IpAddress::parse("192.0.2.9").value()) == policy::Verdict::kBlockedIp);
  CHECK(policy->admit(IpAddress::parse("192.0.2.8").value()) == policy::Verdict::kAllowed);
}

}  // namespace mc::control
