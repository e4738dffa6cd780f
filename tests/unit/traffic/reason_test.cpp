// SPDX-License-Identifier: Apache-2.0
#include "traffic/reason.hpp"

#include <cerrno>
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

TEST_CASE(
    "only a connection that both sides ended, or that has no backend to end, is closed in order") {
  for (std::size_t i = 0; i < kReasons; ++i) {
    const auto reason = static_cast<Reason>(i);
    const bool in_order = reason == Reason::kCompleted || reason == Reason::kClientClosed ||
                          reason == Reason::kProxyLocal || reason == Reason::kRedirected;
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

TEST_CASE("why a dial has failed is a text, also where it is no errno") {
  const auto unix_socket = *mc::BackendAddress::parse("unix:/run/app.sock");
  CHECK(dial_error_text(ENOENT, unix_socket) == "No such file or directory");
  CHECK(dial_error_text(kNoInterface, *mc::BackendAddress::parse("[fe80::1%eth9]:443")) ==
        "no interface eth9");
  std::set<std::string> texts;
  for (const int error : {kDialledItself, kDialledListener, kNoInterface, kNoneEligible, kAllFull,
                          kTlsDeclined, kUnresolved}) {
    const std::string text = dial_error_text(error, unix_socket);
    CHECK_FALSE(text.contains("nknown error"));
    CHECK(texts.insert(text).second);
  }
}

TEST_CASE("a dial that failed is one, whatever kept the backend from being reached") {
  for (const Reason reason :
       {Reason::kDialRefused, Reason::kDialTimeout, Reason::kDialFailed, Reason::kNoBackend,
        Reason::kBackendUnresolved, Reason::kBackendFull}) {
    CHECK(outcome_of(reason, true) == Outcome::kDialFailed);
  }
  CHECK(outcome_of(Reason::kRedirected, true) == Outcome::kClosed);
  CHECK(outcome_of(Reason::kBadRequest, false) == Outcome::kRefused);
}
