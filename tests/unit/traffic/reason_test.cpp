// SPDX-License-Identifier: Apache-2.0
#include "traffic/reason.hpp"

#include <set>
#include <string>

#include "support/catch.hpp"

using namespace mc::traffic;

TEST_CASE("every reason has a name of its own, fit for a metric's label") {
  std::set<std::string> names;
  for (std::size_t i = 0; i < kReasons; ++i) {
    const std::string name(to_string(static_cast<Reason>(i)));
    CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_2") == std::string::npos);
    CHECK(names.insert(name).second);
    CHECK(reason_named(name) == static_cast<Reason>(i));
  }
}

TEST_CASE("no other name is a reason's") { CHECK_FALSE(reason_named("complete").has_value()); }

TEST_CASE("a connection without a route is refused, however it ends") {
  CHECK(outcome_of(Reason::kClientReset, false) == Outcome::kRefused);
  CHECK(outcome_of(Reason::kClientReset, true) == Outcome::kClosed);
  CHECK(outcome_of(Reason::kNoResources, true) == Outcome::kDialFailed);
}

TEST_CASE("a session that the firewall cut is not confused with a client that it never let in") {
  CHECK(to_string(Reason::kFirewallCut) == "firewall_cut");
  CHECK(info(Reason::kFirewallCut).close == Close::kReset);
  CHECK(outcome_of(Reason::kFirewallCut, true) == Outcome::kClosed);
}

TEST_CASE("only a connection that both sides ended, or that never began, is closed in order") {
  for (std::size_t i = 0; i < kReasons; ++i) {
    const auto reason = static_cast<Reason>(i);
    const bool in_order = reason == Reason::kCompleted || reason == Reason::kClientClosed;
    CHECK((info(reason).close == Close::kInOrder) == in_order);
  }
}

TEST_CASE("a hello's rejects keep their names") {
  using mc::tls::Reject;
  for (const Reject reject :
       {Reject::kNotTls, Reject::kSslV2, Reject::kMalformedRecord, Reject::kMalformedHandshake,
        Reject::kMalformedExtension, Reject::kNameInvalid, Reject::kNoSni}) {
    CHECK(to_string(mc::traffic::reason_of(reject)) == mc::tls::to_string(reject));
  }
}
