// SPDX-License-Identifier: Apache-2.0
#include "control/assignment.hpp"

#include <map>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace mc::control {
namespace {

Listeners listeners(const std::vector<std::string>& names) {
  std::vector<config::Listener> configured;
  for (const std::string& name : names) {
    configured.push_back({.name = name, .addr = *SocketAddress::parse_listen(name)});
  }
  return Listeners(configured);
}

store::RouteRecord record(const char* listener, const char* hostname) {
  return {listener, {hostname, "192.0.2.1:1"}};
}

using LeftBehind = std::map<std::string, std::size_t>;

}  // namespace

TEST_CASE("routes belong to the listener of their name, or else of their address") {
  const Listeners configured = listeners({":443", ":8443"});
  auto records =
      std::vector{record("[::]:443", "a"), record("[0::0]:443", "a"), record("[0::0]:443", "b"),
                  record(":8443", "a"),    record("[::]:8443", "b"),  record("192.0.2.1:443", "c"),
                  record("nonsense", "d")};
  const Assignment assignment = assign(records, configured);
  // Of two names of one address, that with more routes; none beside the name as configured.
  CHECK(assignment.record_names == std::vector<std::string>{"[0::0]:443", ":8443"});
  CHECK(assignment.left_behind ==
        LeftBehind{{"[::]:443", 1}, {"[::]:8443", 1}, {"192.0.2.1:443", 1}, {"nonsense", 1}});
  rename(records, assignment, configured);
  CHECK(records[1].listener == ":443");
  CHECK(records[2].listener == ":443");
  CHECK(records[0].listener == "[::]:443");
}

TEST_CASE("a listener that has records of its name takes none of its address") {
  const Assignment assignment = assign(
      {record("[::]:443", "a"), record("[::]:443", "b"), record(":443", "a")}, listeners({":443"}));
  CHECK(assignment.record_names == std::vector<std::string>{":443"});
  CHECK(assignment.left_behind == LeftBehind{{"[::]:443", 2}});
}

TEST_CASE("two listeners do not take the records of one name") {
  const Assignment assignment =
      assign({record("[::]:443", "a")}, listeners({"127.0.0.1:443", ":443"}));
  CHECK(assignment.record_names == std::vector<std::string>{"127.0.0.1:443", "[::]:443"});
  CHECK(assignment.left_behind.empty());
}

TEST_CASE("without records every listener has its own name, and nothing is left behind") {
  const Assignment assignment = assign({}, listeners({":443", ":8443"}));
  CHECK(assignment.record_names == std::vector<std::string>{":443", ":8443"});
  CHECK(assignment.left_behind.empty());
}

}  // namespace mc::control
