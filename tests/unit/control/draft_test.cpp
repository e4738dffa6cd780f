// SPDX-License-Identifier: Apache-2.0
#include "control/draft.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "policy/limits.hpp"
#include "support/catch.hpp"
#include "unit/policy/routes.hpp"

namespace mc::control {
namespace {

constexpr auto kAdd = ValidRoute::Op::kAdd;
constexpr auto kPut = ValidRoute::Op::kPut;
constexpr auto kRemove = ValidRoute::Op::kRemove;

const BackendAddress kFirst = *BackendAddress::parse("192.0.2.1:443");
const BackendAddress kSecond = *BackendAddress::parse("192.0.2.2:443");

/// Two listeners; the first has the route "there" to kFirst, and the rules block 192.0.2.9.
struct Base {
  Base() {
    state.revision = 7;
    state.routes.push_back(policy::RouteTable::build({policy::live_route("there", kFirst)}));
    state.routes.push_back(policy::RouteTable::build({}));
    RuleSet rules;
    rules.append(ip("192.0.2.9"));
    state.rules = std::make_shared<const RuleSet>(rules);
  }

  static Rule ip(std::string_view address) { return *Rule::parse(RuleType::kIp, address); }

  static ValidChange rule(ValidRule::Op op, std::string_view address) {
    return ValidRule{op, ip(address)};
  }
  static ValidChange route(ValidRoute::Op op, std::string_view hostname,
                           BackendAddress backend = {}, std::size_t listener = 0,
                           std::string_view words = "") {
    auto pattern = policy::pattern_of(hostname);
    auto match = policy::match_of(words);
    if (op == kRemove) return ValidRoute{op, {listener, pattern, match}, std::nullopt};
    return ValidRoute{
        op,
        {listener, pattern, match},
        policy::Route{.pattern = pattern, .match = match, .target = std::move(backend)}};
  }

  Listeners listeners{{{.name = ":443", .addr = *SocketAddress::parse_listen(":443")},
                       {.name = ":8443", .addr = *SocketAddress::parse_listen(":8443")}}};
  State state;
  Draft draft{state, listeners};
};

Effect::Result made(const Outcome<Effect>& outcome) {
  REQUIRE(outcome.has_value());
  return outcome->result;
}

}  // namespace

TEST_CASE("a change is applied on top of those before it") {
  Base base;
  CHECK(made(base.draft.apply(base.route(kAdd, "new", kFirst))) == Effect::Result::kAdded);
  CHECK_FALSE(base.draft.apply(base.route(kAdd, "new", kSecond)).has_value());
  const auto changed = base.draft.apply(base.route(kPut, "new", kSecond));
  CHECK(made(changed) == Effect::Result::kChanged);
  CHECK(*changed->previous->backend() == kFirst);
  CHECK(made(base.draft.apply(base.route(kPut, "new", kSecond))) == Effect::Result::kUnchanged);
  CHECK(made(base.draft.apply(base.route(kRemove, "new"))) == Effect::Result::kRemoved);
  CHECK(base.draft.apply(base.route(kRemove, "new")).error().kind == RefusalKind::kNotFound);
}

TEST_CASE("a route of one listener is none of another") {
  Base base;
  CHECK(made(base.draft.apply(base.route(kAdd, "there", kSecond, 1))) == Effect::Result::kAdded);
  CHECK(base.draft.apply(base.route(kAdd, "there", kSecond, 0)).error().kind ==
        RefusalKind::kAlreadyExists);
}

TEST_CASE("routes of one host name are told apart by what they ask for") {
  Base base;
  CHECK(made(base.draft.apply(base.route(kAdd, "there", kSecond, 0, "alpn=h2"))) ==
        Effect::Result::kAdded);
  CHECK(base.draft.apply(base.route(kAdd, "there", kSecond, 0, "alpn=h2")).error().message ==
        R"(listener ":443" has a route for "there" (alpn=h2) already, to 192.0.2.2:443; )"
        "remove it first, or replace it");
  CHECK(made(base.draft.apply(base.route(kRemove, "there"))) == Effect::Result::kRemoved);
  const State next = changed(base.state, base.draft.difference());
  CHECK(next.routes[0].by_key(policy::pattern_of("there"), {}) == nullptr);
  CHECK(next.routes[0].by_key(policy::pattern_of("there"), policy::match_of("alpn=h2")) != nullptr);
  const store::ChangeSet records = to_records(base.draft.difference(), {":443", ":8443"});
  CHECK(records.removed_routes == std::vector<store::RouteRecordKey>{{":443", "there"}});
  REQUIRE(records.put_routes.size() == 1);
  CHECK(records.put_routes[0].text.match.alpn == "h2");
}

TEST_CASE("who removes a route that is not there learns which ones the host name has") {
  Base base;
  REQUIRE(base.draft.apply(base.route(kAdd, "new", kFirst, 0, "alpn=h2")).has_value());
  REQUIRE(base.draft.apply(base.route(kAdd, "new", kFirst, 0, "source=10.0.0.0/8")).has_value());
  CHECK(base.draft.apply(base.route(kRemove, "new")).error().message ==
        R"(listener ":443" has no route for "new"; it has: )"
        R"("new" (source=10.0.0.0/8), "new" (alpn=h2))");
  CHECK(base.draft.apply(base.route(kRemove, "there", {}, 0, "alpn=h2")).error().message ==
        R"(listener ":443" has no route for "there" (alpn=h2); it has: "there")");
  CHECK(base.draft.apply(base.route(kRemove, "none")).error().message ==
        R"(listener ":443" has no route for "none")");
}

TEST_CASE("a host name has a limited number of routes that ask for more, in whatever order") {
  Base base;
  const auto alpn = [](std::size_t i) { return "alpn=p" + std::to_string(i); };
  for (std::size_t i = 0; i <= policy::kMatchesPerPatternMax; ++i) {
    base.draft.at(i);
    REQUIRE(base.draft.apply(base.route(kAdd, "there", kFirst, 0, alpn(i))).has_value());
  }
  const auto refused = base.draft.require_few_matches();
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == RefusalKind::kTooMany);
  CHECK(refused.error().message.contains(R"(would have 17 routes for "there")"));
  REQUIRE(base.draft.apply(base.route(kRemove, "there", {}, 0, alpn(3))).has_value());
  CHECK(base.draft.require_few_matches().has_value());
  CHECK(base.draft.apply(base.route(kRemove, "there", {}, 0, "alpn=h2"))
            .error()
            .message.ends_with(R"("there" (alpn=p14) and 9 more)"));
}

TEST_CASE("the difference is net: what comes and goes again is not in it") {
  Base base;
  for (const ValidChange& change :
       {base.route(kAdd, "new", kFirst), base.route(kRemove, "new"), base.route(kRemove, "there"),
        base.route(kAdd, "there", kFirst), Base::rule(ValidRule::Op::kRemove, "192.0.2.9"),
        Base::rule(ValidRule::Op::kAdd, "192.0.2.9")}) {
    REQUIRE(base.draft.apply(change).has_value());
  }
  CHECK(base.draft.difference().empty());
}

TEST_CASE("the difference names what was before and what is after") {
  Base base;
  REQUIRE(base.draft.apply(base.route(kPut, "there", kSecond)).has_value());
  REQUIRE(base.draft.apply(base.route(kAdd, "new", kFirst, 1)).has_value());
  const Difference difference = base.draft.difference();
  REQUIRE(difference.routes.size() == 2);
  CHECK(difference.routes[0].before->backend()->to_string() == kFirst.to_string());
  CHECK(difference.routes[0].after->backend()->to_string() == kSecond.to_string());
  CHECK(difference.routes[1].key.listener == 1);
  CHECK_FALSE(difference.routes[1].before.has_value());
}

TEST_CASE("clearing a listener removes its routes, and what is put afterwards stays") {
  Base base;
  base.draft.clear_routes(0);
  REQUIRE(base.draft.apply(base.route(kPut, "new", kFirst)).has_value());
  const State next = changed(base.state, base.draft.difference());
  CHECK(next.routes[0].by_key(policy::pattern_of("there"), {}) == nullptr);
  CHECK(next.routes[0].by_key(policy::pattern_of("new"), {}) != nullptr);
  CHECK(next.revision == base.state.revision);
}

TEST_CASE("the wanted rules are those that the request adds or puts, new or not") {
  Base base;
  REQUIRE(base.draft.apply(Base::rule(ValidRule::Op::kPut, "192.0.2.9")).has_value());
  REQUIRE(base.draft.apply(Base::rule(ValidRule::Op::kAdd, "192.0.2.8")).has_value());
  CHECK(base.draft.wanted_rules() == std::vector{Base::ip("192.0.2.8"), Base::ip("192.0.2.9")});
  CHECK(base.draft.difference().added_rules == std::vector{Base::ip("192.0.2.8")});
}

TEST_CASE("the store gets listeners by the names that the database has for them") {
  Base base;
  REQUIRE(base.draft.apply(base.route(kRemove, "there")).has_value());
  REQUIRE(base.draft.apply(base.route(kAdd, "new", kFirst, 1)).has_value());
  const store::ChangeSet records = to_records(base.draft.difference(), {"[::]:443", ":8443"});
  REQUIRE(records.removed_routes.size() == 1);
  CHECK(records.removed_routes[0].listener == "[::]:443");
  REQUIRE(records.put_routes.size() == 1);
  CHECK(records.put_routes[0].listener == ":8443");
  CHECK(records.put_routes[0].text.backend == "192.0.2.1:443");
}

}  // namespace mc::control
