// SPDX-License-Identifier: Apache-2.0
#include "policy/route_match.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "policy/limits.hpp"
#include "support/catch.hpp"
#include "unit/policy/routes.hpp"

using namespace mc::policy;

namespace {

std::vector<std::string> sources_of(const std::vector<std::string>& texts) {
  return to_text(parse_match({.sources = texts}).value()).sources;
}

std::string problem(const RouteMatchText& text) {
  const auto match = parse_match(text);
  return match.has_value() ? "none" : match.error().front().message;
}

std::string source_problem(const std::vector<std::string>& texts) {
  return problem({.sources = texts});
}

}  // namespace

TEST_CASE("A match without fields asks for nothing") {
  const auto match = parse_match({});
  REQUIRE(match.has_value());
  CHECK(match->empty());
  CHECK(rank_of(*match, {.name = "a.test"}).has_value());
  CHECK(to_words(to_text(*match)).empty());
}

TEST_CASE("Sources come out in normal form: as networks, in order, each once") {
  CHECK(sources_of({"2001:DB8::1", "192.0.2.1", "10.0.0.0/8", "192.0.2.1/32", "::ffff:9.9.9.9"}) ==
        std::vector<std::string>{"9.9.9.9/32", "10.0.0.0/8", "192.0.2.1/32", "2001:db8::1/128"});
}

TEST_CASE("A source that is wrong is told with what would be right") {
  CHECK(source_problem({"10.0.0.1/8"}).contains("the block is \"10.0.0.0/8\""));
  CHECK(source_problem({"DE"}) ==
        "\"DE\": a country, which only a firewall rule takes; write one like \"10.0.0.0/8\" or "
        "\"2001:db8::1\"");
  CHECK(source_problem({"office"}).contains("neither a network nor an address; write one like"));
  CHECK(source_problem({""}).contains("neither a network nor an address"));
  CHECK(source_problem({"10.1.0.0/16", "10.0.0.0/8"}) ==
        R"("10.1.0.0/16": inside "10.0.0.0/8", which the route has, too; leave one of both out)");
  CHECK(source_problem({"::/0", "10.0.0.0/8"}) == "none");
  CHECK(source_problem(std::vector<std::string>(kRouteSourcesMax, "10.0.0.0/8")) == "none");
  CHECK(source_problem(std::vector<std::string>(kRouteSourcesMax + 1, "10.0.0.0/8"))
            .contains("65 sources; a route has at most 64"));
}

TEST_CASE("A protocol is one name of visible characters") {
  for (const std::string& alpn : {std::string("acme-tls/1"), std::string("h2"),
                                  std::string("tds/8.0"), std::string(kAlpnBytesMax, 'x')}) {
    CHECK(problem({.alpn = alpn}) == "none");
  }
  CHECK(problem({.alpn = "h2,http/1.1"}).contains("a route asks for one protocol"));
  CHECK(problem({.alpn = "h2 http/1.1"}).contains("a route asks for one protocol"));
  CHECK(problem({.alpn = std::string(kAlpnBytesMax + 1, 'x')}).contains("at most 255 bytes"));
  for (const char* const alpn : {"h#2", "h\n2", "h\x7f", "\xc3\xa4"}) {
    CHECK(problem({.alpn = alpn}).contains("write one like \"acme-tls/1\" or \"h2\""));
  }
}

TEST_CASE("A validation of a certificate is one only where it is all that the client offers") {
  const RouteMatch acme = match_of("alpn=acme-tls/1");
  const RouteMatch h2 = match_of("alpn=h2");
  const auto takes = [](const RouteMatch& match, std::string_view offered) {
    const Offer offer(offered);
    return rank_of(match, {.name = "a.test", .alpn = offer.list()}).has_value();
  };
  CHECK(takes(acme, "acme-tls/1"));
  CHECK_FALSE(takes(acme, "acme-tls/1,h2"));
  CHECK_FALSE(takes(acme, "h2,acme-tls/1"));
  CHECK_FALSE(takes(acme, ""));
  CHECK(takes(h2, "http/1.1,h2"));
  CHECK_FALSE(takes(h2, "h2c"));
  CHECK_FALSE(takes(h2, ""));
}

TEST_CASE("A match that is written as words and read again is the same") {
  for (const std::string_view words :
       {"", "alpn=h2", "source=10.0.0.0/8,2001:db8::/32", "alpn=tds/8.0 source=192.0.2.1/32"}) {
    CHECK(to_words(to_text(match_of(words))) == words);
  }
}

TEST_CASE("A word that is none of a match is refused with what would be one") {
  RouteMatchText match;
  for (const std::string_view word : {"h2", "alpn=", "source=", "pool=app", ""}) {
    CAPTURE(word);
    CHECK(read_word(word, match)
              .error()
              .message.ends_with(
                  ": neither a protocol nor a source; write alpn=acme-tls/1 or source=10.0.0.0/8"));
  }
  CHECK(match.empty());
  REQUIRE(read_word("source=10.0.0.0/8", match).has_value());
  REQUIRE(read_word("source=::1,192.0.2.1", match).has_value());
  CHECK(match.sources == std::vector<std::string>{"10.0.0.0/8", "::1", "192.0.2.1"});
  REQUIRE(read_word("alpn=h2", match).has_value());
  CHECK(read_word("alpn=h3", match).error().message.contains("a route asks for one protocol"));
}

TEST_CASE("A message names the first sources of a route, and counts the others") {
  RouteMatchText match{.alpn = "h2"};
  for (int i = 1; i <= 6; ++i) match.sources.push_back("10.0.0." + std::to_string(i) + "/32");
  CHECK(named("a.test", match) ==
        "a.test alpn=h2 source=10.0.0.1/32,10.0.0.2/32,10.0.0.3/32,10.0.0.4/32 and 2 more");
  CHECK(quoted("a.test", {.alpn = "h2"}) == R"("a.test" (alpn=h2))");
  CHECK(quoted("a.test", {}) == R"("a.test")");
}
