// SPDX-License-Identifier: Apache-2.0
#include "proxy/reason.hpp"

#include <set>
#include <string>

#include "support/catch.hpp"

using mc::proxy::kReasons;
using mc::proxy::Reason;

TEST_CASE("every reason has a name of its own, fit for a metric's label") {
  std::set<std::string> names;
  for (std::size_t i = 0; i < kReasons; ++i) {
    const std::string name(to_string(static_cast<Reason>(i)));
    CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_2") == std::string::npos);
    CHECK(names.insert(name).second);
  }
}

TEST_CASE("a session that the firewall cut is not confused with a client that it never let in") {
  CHECK(to_string(Reason::kFirewallCut) == "firewall_cut");
  CHECK_FALSE(closes_in_order(Reason::kFirewallCut));
  CHECK_FALSE(is_dial_failure(Reason::kFirewallCut));
}

TEST_CASE("only a connection that both sides ended, or that never began, is closed in order") {
  for (std::size_t i = 0; i < kReasons; ++i) {
    const auto reason = static_cast<Reason>(i);
    const bool in_order = reason == Reason::kCompleted || reason == Reason::kClientClosed;
    CHECK(closes_in_order(reason) == in_order);
  }
}

TEST_CASE("a hello's rejects keep their names") {
  using mc::tls::Reject;
  for (const Reject reject :
       {Reject::kNotTls, Reject::kSslV2, Reject::kMalformedRecord, Reject::kMalformedHandshake,
        Reject::kMalformedExtension, Reject::kNameInvalid, Reject::kNoSni}) {
    CHECK(to_string(mc::proxy::reason_of(reject)) == mc::tls::to_string(reject));
  }
}
