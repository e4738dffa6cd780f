// SPDX-License-Identifier: Apache-2.0
#include "policy/route_table.hpp"

#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "unit/policy/naive_routes.hpp"
#include "unit/policy/routes.hpp"

namespace mc::policy {
namespace {

LiveRoute route(std::string_view pattern, std::uint16_t port = 443) {
  return live_route(pattern, SocketAddress(IpAddress::v4(0x7f000001), port));
}

/// Where the name goes: the pattern that it matches, or "nowhere".
std::string target(const RouteTable& table, std::string_view name) {
  const LiveRoute* const found = table.find({.name = name});
  return found != nullptr ? found->spec.pattern.text() : "nowhere";
}

std::vector<std::string> patterns(const RouteTable& table) {
  std::vector<std::string> result;
  for (const LiveRoute* each : table.sorted()) result.push_back(each->spec.pattern.text());
  return result;
}

}  // namespace

TEST_CASE("an empty table matches nothing") {
  const RouteTable table;
  CHECK(table.empty());
  CHECK(table.sorted().empty());
  CHECK(target(table, "app.example.com") == "nowhere");
  CHECK(target(table, "") == "nowhere");
  CHECK(table.by_key(pattern_of("*"), {}) == nullptr);
}

TEST_CASE("an exact route wins over a wildcard, and a wildcard over the fallback") {
  const auto table =
      RouteTable::build({route("*", 1), route("*.example.com", 2), route("app.example.com", 3)});

  const auto exact = table.find({.name = "app.example.com"});
  REQUIRE(exact);
  CHECK(exact->spec.pattern.kind() == PatternKind::kExact);
  CHECK(exact->spec.backend()->port() == 3);

  const auto wildcard = table.find({.name = "www.example.com"});
  REQUIRE(wildcard);
  CHECK(wildcard->spec.pattern.kind() == PatternKind::kWildcard);
  CHECK(wildcard->spec.backend()->port() == 2);

  const auto fallback = table.find({.name = "example.org"});
  REQUIRE(fallback);
  CHECK(fallback->spec.pattern.kind() == PatternKind::kFallback);
  CHECK(fallback->spec.backend()->port() == 1);
}

TEST_CASE("of several wildcards the longest wins, in whatever order they came") {
  std::vector<LiveRoute> routes = {route("*.com"), route("*.example.com"),
                                   route("*.eu.example.com")};
  const bool reverse = GENERATE(false, true);
  if (reverse) std::ranges::reverse(routes);
  const auto table = RouteTable::build(routes);

  CHECK(target(table, "a.eu.example.com") == "*.eu.example.com");
  CHECK(target(table, "a.us.example.com") == "*.example.com");
  CHECK(target(table, "a.example.net") == "nowhere");
  CHECK(target(table, "a.com") == "*.com");
}

TEST_CASE("a wildcard matches at any depth below its host, but not the host itself") {
  const auto table = RouteTable::build({route("*.example.com")});
  CHECK(target(table, "a.example.com") == "*.example.com");
  CHECK(target(table, "a.b.c.d.e.f.example.com") == "*.example.com");
  CHECK(target(table, "example.com") == "nowhere");
}

TEST_CASE("the host of one wildcard is below a shorter one") {
  const auto table = RouteTable::build({route("*.com"), route("*.example.com")});
  CHECK(target(table, "example.com") == "*.com");
}

TEST_CASE("a wildcard matches whole labels only") {
  const auto table = RouteTable::build({route("*.example.com")});
  CHECK(target(table, "notexample.com") == "nowhere");
  CHECK(target(table, "a.notexample.com") == "nowhere");
  CHECK(target(table, "a.example.com.evil.org") == "nowhere");
}

TEST_CASE("an exact route for a host and a wildcard below it stand side by side") {
  const auto table = RouteTable::build({route("example.com", 1), route("*.example.com", 2)});
  CHECK(table.size() == 2);
  CHECK(table.find({.name = "example.com"})->spec.backend()->port() == 1);
  CHECK(table.find({.name = "a.example.com"})->spec.backend()->port() == 2);
  CHECK(target(table.without(pattern_of("example.com"), {}), "a.example.com") == "*.example.com");
  CHECK(target(table.without(pattern_of("*.example.com"), {}), "example.com") == "example.com");
}

TEST_CASE("a client that sent no name goes to the fallback, if there is one") {
  const auto table = RouteTable::build({route("*.example.com"), route("example.com")});
  CHECK(target(table, "") == "nowhere");
  CHECK(target(table.with(route("*")), "") == "*");
}

TEST_CASE("a name as long and as deep as DNS allows is looked up") {
  std::string deep = "x";
  while (deep.size() + 2 <= 253) deep += ".x";
  const auto table = RouteTable::build({route("*.x"), route("*")});
  CHECK(target(table, deep) == "*.x");
  CHECK(target(table.without(pattern_of("*.x"), {}), deep) == "*");
}

TEST_CASE("a route with the pattern of another takes its place") {
  const std::string pattern = GENERATE("app.example.com", "*.example.com", "*");
  const auto table = RouteTable::build({route(pattern, 1), route(pattern, 2)});
  CHECK(table.size() == 1);
  CHECK(table.by_key(pattern_of(pattern), {})->spec.backend()->port() == 2);
  const auto changed = table.with(route(pattern, 3));
  CHECK(changed.size() == 1);
  CHECK(changed.find({.name = "app.example.com"})->spec.backend()->port() == 3);
}

TEST_CASE("a change makes another table and leaves the first as it was") {
  const auto before = RouteTable::build({route("a.example.com", 1), route("*.example.com", 2)});
  const auto after =
      before.with(route("b.example.com", 3)).without(pattern_of("a.example.com"), {});

  CHECK(patterns(before) == std::vector<std::string>{"*.example.com", "a.example.com"});
  CHECK(patterns(after) == std::vector<std::string>{"*.example.com", "b.example.com"});
  CHECK(target(before, "b.example.com") == "*.example.com");
  CHECK(target(after, "a.example.com") == "*.example.com");
}

TEST_CASE("a table outlives the one it was made from") {
  auto table = RouteTable::build({route("a.example.com", 1)});
  for (std::uint16_t i = 2; i < 100; ++i) {
    table = table.with(route("host-" + std::to_string(i) + ".example.com", i));
  }
  CHECK(table.size() == 99);
  CHECK(table.find({.name = "a.example.com"})->spec.backend()->port() == 1);
}

TEST_CASE("a route keeps its state from table to table, whatever becomes of the others") {
  const std::string pattern = GENERATE("app.example.com", "*.example.com", "*");
  auto table = RouteTable::build({route("a.org"), route("*.a.org"), route(pattern)});
  const ConnectionCounts* const state = table.by_key(pattern_of(pattern), {})->counts.get();
  REQUIRE(state != nullptr);
  const RouteTable before = table;
  for (int i = 0; i < 2000; ++i) {  // enough to change what the route shares a shard with
    const std::string host = "host-" + std::to_string(i) + ".example.net";
    table = table.with(route(host)).with(route("*." + host));
    if (i % 2 == 0)
      table = table.without(pattern_of(host), {}).without(pattern_of("*." + host), {});
  }
  table = table.without(pattern_of("a.org"), {}).without(pattern_of("*.a.org"), {});
  CHECK(table.by_key(pattern_of(pattern), {})->counts.get() == state);
  CHECK(before.by_key(pattern_of(pattern), {})->counts.get() == state);
  CHECK(RouteTable::build({*table.by_key(pattern_of(pattern), {})})
            .by_key(pattern_of(pattern), {})
            ->counts.get() == state);
}

TEST_CASE("every route has a state of its own, and one that takes a place begins anew") {
  const std::string pattern = GENERATE("app.example.com", "*.example.com", "*");
  const auto table = RouteTable::build({route("a.org"), route(pattern)});
  const LiveRoute& first = *table.by_key(pattern_of(pattern), {});
  CHECK(first.counts != table.by_key(pattern_of("a.org"), {})->counts);
  CHECK(table.with(route(pattern)).by_key(pattern_of(pattern), {})->counts != first.counts);

  LiveRoute moved = route(pattern, 8443);
  moved.counts = first.counts;
  CHECK(table.with(moved).by_key(pattern_of(pattern), {})->counts == first.counts);
}

TEST_CASE("routes are the same by where they lead, not by who came") {
  const LiveRoute one = route("app.example.com");
  ++one.counts->connections;
  CHECK(one.spec == route("app.example.com").spec);
  CHECK_FALSE(one.spec == route("app.example.org").spec);
  CHECK_FALSE(one.spec == route("app.example.com", 1).spec);
}

TEST_CASE("routes are found and removed by their patterns") {
  const std::vector<std::string> all = {"*", "*.example.com", "app.example.com"};
  auto table = RouteTable::build({route(all[2]), route(all[0]), route(all[1])});
  for (const auto& pattern : all) {
    REQUIRE(table.by_key(pattern_of(pattern), {}) != nullptr);
    CHECK(table.by_key(pattern_of(pattern), {})->spec.pattern.text() == pattern);
  }
  CHECK(table.by_key(pattern_of("example.com"), {}) == nullptr);
  CHECK(table.by_key(pattern_of("*.app.example.com"), {}) == nullptr);

  RouteTable::Edit edit(table);
  for (const auto& pattern : all) {
    CHECK(edit.remove(pattern_of(pattern), {}));
    CHECK_FALSE(edit.remove(pattern_of(pattern), {}));
  }
  CHECK(std::move(edit).finish().empty());
  CHECK(table.size() == 3);
}

TEST_CASE("an edit that changes nothing gives an equal table") {
  const auto table = RouteTable::build({route("a.example.com"), route("*")});
  CHECK(patterns(RouteTable::Edit(table).finish()) == patterns(table));
}

TEST_CASE("routes are listed by pattern") {
  const auto table = RouteTable::build(
      {route("b.example.com"), route("*.b.example.com"), route("*"), route("a.example.com")});
  CHECK(patterns(table) ==
        std::vector<std::string>{"*", "*.b.example.com", "a.example.com", "b.example.com"});
}

namespace {

/// "app.example.com alpn=h2", as `mc-proxy routes list` has it.
LiveRoute route_of(std::string_view words) {
  const auto space = words.find(' ');
  const auto match = space == words.npos ? "" : words.substr(space + 1);
  LiveRoute made = route(words.substr(0, space));
  made.spec.match = match_of(match);
  return made;
}

std::string words_of(const LiveRoute* found) {
  if (found == nullptr) return "nowhere";
  return named(found->spec.pattern.text(), to_text(found->spec.match));
}

RouteTable table_of(std::initializer_list<std::string_view> routes) {
  RouteTable::Edit edit{RouteTable()};
  for (const auto words : routes) edit.put(route_of(words));
  return std::move(edit).finish();
}

}  // namespace

// The table of the README.
TEST_CASE("the strongest pattern wins, then the closest match") {
  const auto table =
      table_of({"*", "*.example.com", "app.example.com", "app.example.com source=10.0.0.0/8",
                "app.example.com source=10.1.0.0/16", "app.example.com alpn=h2",
                "app.example.com alpn=h2 source=10.0.0.0/8", "app.example.com alpn=acme-tls/1",
                "api.example.com alpn=h2"});
  struct Row {
    const char* name;
    const char* offers;
    const char* from;
    const char* route;
  };
  const Row rows[] = {
      {"app.example.com", "", "192.0.2.1", "app.example.com"},
      {"app.example.com", "http/1.1", "192.0.2.1", "app.example.com"},
      {"app.example.com", "http/1.1", "10.2.0.1", "app.example.com source=10.0.0.0/8"},
      {"app.example.com", "http/1.1", "10.1.0.1", "app.example.com source=10.1.0.0/16"},
      {"app.example.com", "h2,http/1.1", "192.0.2.1", "app.example.com alpn=h2"},
      {"app.example.com", "h2,http/1.1", "10.1.0.1", "app.example.com alpn=h2 source=10.0.0.0/8"},
      {"app.example.com", "acme-tls/1", "10.1.0.1", "app.example.com alpn=acme-tls/1"},
      {"app.example.com", "acme-tls/1,http/1.1", "192.0.2.1", "app.example.com"},
      {"api.example.com", "h2", "192.0.2.1", "api.example.com alpn=h2"},
      {"api.example.com", "http/1.1", "192.0.2.1", "*.example.com"},
      {"example.org", "h2", "10.1.0.1", "*"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name, row.offers, row.from);
    const Offer offer(row.offers);
    CHECK(words_of(table.find({.name = row.name,
                               .alpn = offer.list(),
                               .client = IpAddress::parse(row.from).value()})) == row.route);
  }
}

TEST_CASE("of routes that suit a client as well, the first in the listing is taken") {
  const auto table = table_of({"a.test alpn=http/1.1", "a.test alpn=h2", "b.test source=::1",
                               "b.test source=10.0.0.0/8,::1", "b.test source=9.0.0.0/8"});
  const Offer both("http/1.1,h2");
  CHECK(words_of(table.find({.name = "a.test", .alpn = both.list()})) == "a.test alpn=h2");
  CHECK(words_of(table.find({.name = "b.test", .client = IpAddress::parse("::1").value()})) ==
        "b.test source=::1/128");
}

TEST_CASE("a source of one family has no client of the other") {
  const auto table = table_of({"a.test source=::/0", "b.test source=0.0.0.0/0"});
  const IpAddress v4 = IpAddress::v4(0x0a000001);
  const IpAddress v6 = IpAddress::parse("2001:db8::1").value();
  CHECK(table.find({.name = "a.test", .client = v4}) == nullptr);
  CHECK(table.find({.name = "a.test", .client = v6}) != nullptr);
  CHECK(table.find({.name = "b.test", .client = v4}) != nullptr);
  CHECK(table.find({.name = "b.test", .client = v6}) == nullptr);
}

TEST_CASE("a name is covered by any of its routes, for whomever they are") {
  const auto table = table_of({"a.test alpn=h2", "*.b.test source=10.0.0.0/8"});
  CHECK(table.covers("a.test"));
  CHECK(table.covers("x.b.test"));
  CHECK_FALSE(table.covers("b.test"));
  CHECK_FALSE(table.covers(""));
  CHECK(table_of({"* alpn=h2"}).covers(""));
}

TEST_CASE("routes of one pattern are found, replaced, removed and listed by their match") {
  const std::string pattern = GENERATE("app.example.com", "*.example.com", "*");
  const HostPattern host = pattern_of(pattern);
  const auto table =
      RouteTable::build({route_of(pattern + " source=10.0.0.0/8"), route_of(pattern + " alpn=h2"),
                         route_of(pattern), route_of(pattern + " alpn=h2 source=10.0.0.0/8")});
  CHECK(table.size() == 4);
  REQUIRE(table.by_pattern(host) != nullptr);
  CHECK(table.by_pattern(host)->size() == 4);
  std::vector<std::string> listed;
  for (const LiveRoute* each : table.sorted()) listed.push_back(words_of(each));
  CHECK(listed == std::vector<std::string>{pattern, pattern + " source=10.0.0.0/8",
                                           pattern + " alpn=h2",
                                           pattern + " alpn=h2 source=10.0.0.0/8"});

  LiveRoute changed = route_of(pattern + " alpn=h2");
  changed.spec.target = PoolName{"app"};
  const auto after = table.with(changed);
  CHECK(after.size() == 4);
  CHECK(after.by_key(host, match_of("alpn=h2"))->spec.pool() != nullptr);
  CHECK(table.by_key(host, match_of("alpn=h2"))->spec.pool() == nullptr);
  CHECK(after.by_key(host, {})->spec.pool() == nullptr);
  CHECK(after.by_key(host, match_of("alpn=h3")) == nullptr);

  RouteTable::Edit edit(after);
  for (const auto words : {"", "alpn=h2", "source=10.0.0.0/8", "alpn=h2 source=10.0.0.0/8"}) {
    CHECK(edit.remove(host, match_of(words)));
    CHECK_FALSE(edit.remove(host, match_of(words)));
  }
  CHECK(std::move(edit).finish().empty());
}

// A small alphabet, so that names and patterns meet often; likewise few matches.
TEST_CASE("a table under random changes answers as a plain list would") {
  std::mt19937_64 random(20260819);
  const auto one_of = [&random](const std::vector<std::string_view>& words) {
    return words[random() % words.size()];
  };
  const auto match = [&] {
    return match_of(one_of({"", "", "", "alpn=h2", "alpn=acme-tls/1", "source=10.0.0.0/8",
                            "source=10.1.0.0/16", "source=10.0.0.0/16,::1",
                            "alpn=h2 source=10.0.0.0/8", "alpn=h3 source=10.1.0.0/16"}));
  };
  const auto host = [&random] {
    std::string text;
    for (auto labels = 1 + random() % 4; labels > 0; --labels) {
      if (!text.empty()) text += '.';
      text += static_cast<char>('a' + random() % 3);
      if (random() % 4 == 0) text += static_cast<char>('a' + random() % 3);
    }
    return text;
  };
  const auto pattern = [&] {
    const auto kind = random() % 20;
    return kind == 0 ? "*" : kind < 10 ? "*." + host() : host();
  };

  RouteTable table;
  NaiveRoutes reference;
  for (int round = 0; round < 1000; ++round) {
    RouteTable::Edit edit(table);
    for (auto changes = random() % 8; changes > 0; --changes) {
      if (random() % 5 < 3) {
        auto added = route(pattern(), static_cast<std::uint16_t>(random()));
        added.spec.match = match();
        edit.put(added);
        reference.put(added.spec);
      } else {
        const HostPattern removed = pattern_of(pattern());
        const RouteMatch removed_match = match();
        REQUIRE(edit.remove(removed, removed_match) == reference.remove(removed, removed_match));
      }
    }
    table = std::move(edit).finish();
    for (int i = 0; i < 20; ++i) {
      const auto name = host();
      const auto offered = one_of({"", "h2", "h3,h2", "acme-tls/1", "acme-tls/1,h2"});
      const auto from = one_of({"10.0.0.1", "10.1.0.1", "192.0.2.1", "::1"});
      CAPTURE(name, offered, from);
      const Offer offer(offered);
      REQUIRE(
          agree(table, reference,
                {.name = name, .alpn = offer.list(), .client = IpAddress::parse(from).value()}));
    }
    REQUIRE(hold_the_same(table, reference));
  }
}

}  // namespace mc::policy
