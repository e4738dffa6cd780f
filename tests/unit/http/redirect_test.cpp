// SPDX-License-Identifier: Apache-2.0
#include "http/redirect.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace mc::http {
namespace {

constexpr std::string_view kRouted = "example.com";

// The Location, "challenge HOST", or the status.
struct Describe {
  std::string operator()(const Challenge& challenge) const {
    return "challenge " + std::string(challenge.host.view());
  }
  std::string operator()(const Redirect& redirect) const { return redirect.location; }
  std::string operator()(NotFound /*unused*/) const { return "404"; }
  std::string operator()(Malformed malformed) const {
    return std::to_string(static_cast<int>(malformed.status));
  }
};

enum class Challenges { kElsewhere, kHere };

std::string decided_on(const std::string& bytes, std::uint16_t tls_port = 443,
                       Challenges challenges = Challenges::kHere) {
  INFO(bytes);
  const HeadResult head = parse_request_head(bytes);
  REQUIRE(std::holds_alternative<RequestHead>(head));
  const auto has_route = [](const tls::HostName& name) { return name.view() == kRouted; };
  const RedirectRules rules{.tls_port = tls_port,
                            .takes_challenges = challenges == Challenges::kHere,
                            .has_route = has_route};
  return std::visit(Describe{}, decide_redirect(std::get<RequestHead>(head), rules));
}

std::string decided(const std::string& target, const std::string& host = "example.com") {
  return decided_on("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
}

TEST_CASE("a name with a route is redirected, with path and query as they are") {
  CHECK(decided("/") == "https://example.com/");
  CHECK(decided("/a/b.c?d=e&f=%C3%a4;g") == "https://example.com/a/b.c?d=e&f=%C3%a4;g");
  CHECK(decided("//other.example/") == "https://example.com//other.example/");
  CHECK(decided("/@other.example") == "https://example.com/@other.example");
  CHECK(decided("/?") == "https://example.com/?");
  CHECK(decided("/-._~!$&'()*+,;=:@/??") == "https://example.com/-._~!$&'()*+,;=:@/??");
}

TEST_CASE("any method is redirected") {
  const std::string rest = " / HTTP/1.1\r\nHost: example.com\r\n\r\n";
  for (const char* const method : {"HEAD", "POST", "DELETE"}) {
    CHECK(decided_on(method + rest) == "https://example.com/");
  }
}

TEST_CASE("the host is the normal form of its name, without the port") {
  for (const char* const host :
       {"EXAMPLE.com", "example.com.", "example.com:80", "example.com:", "Example.Com.:8080"}) {
    CHECK(decided("/x", host) == "https://example.com/x");
  }
}

TEST_CASE("the port of the TLS listener is told unless it is that of https") {
  const std::string request = "GET /x HTTP/1.1\r\nHost: example.com:8080\r\n\r\n";
  CHECK(decided_on(request, 443) == "https://example.com/x");
  CHECK(decided_on(request, 8443) == "https://example.com:8443/x");
  CHECK(decided_on(request, 80) == "https://example.com:80/x");
}

TEST_CASE("an absolute target counts for more than the Host, and is reduced to its path") {
  CHECK(decided("http://example.com/a?b", "other.example") == "https://example.com/a?b");
  CHECK(decided("HTTP://Example.COM:80/a", "other.example") == "https://example.com/a");
  CHECK(decided("http://other.example/", "example.com") == "404");
  CHECK(decided("http://example.com") == "https://example.com/");
  CHECK(decided("http://example.com?a") == "https://example.com/?a");
  CHECK(decided("http://192.0.2.1/") == "404");
}

TEST_CASE("what has no route is not found") {
  for (const char* const host : {"other.example", "www.example.com", "192.0.2.1", "192.0.2.1:80",
                                 "[2001:db8::1]", "[2001:db8::1]:80", "[v1.x]", ""}) {
    CHECK(decided("/", host) == "404");
  }
  CHECK(decided_on("GET / HTTP/1.0\r\n\r\n") == "404");
}

TEST_CASE("HTTP/1.0 with a Host is redirected, and HTTP/1.1 without is malformed") {
  CHECK(decided_on("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n") == "https://example.com/");
  CHECK(decided_on("GET / HTTP/1.1\r\n\r\n") == "400");
  CHECK(decided_on("GET http://example.com/ HTTP/1.1\r\n\r\n") == "400");
}

TEST_CASE("what is no host is malformed, also where it does not count") {
  for (const char* const host :
       {"a b", "a,b", "user@example.com", "user:word@example.com", "example.com:80x",
        "example.com:80:80", "example..com", ".", "::1", "[::1", "[]", "[::1]x", "[::1]:x", "[a]b]",
        "example.com/", "ex%61mple.com",
        "b\xc3\xbc"
        "cher.example",
        "example.com, other.example"}) {
    CHECK(decided("/", host) == "400");
    CHECK(decided("http://example.com/", host) == "400");
  }
}

TEST_CASE("a target of another form, or with other characters than a URI's, is malformed") {
  for (const char* const target :
       {"*", "example.com:443", "x", "?", "https://example.com/", "ftp://example.com/", "http:/x",
        "http://", "http:///x", "http://?x", "http://user@example.com/", "http://example.com:x/",
        "http://example.com#", "http://example.com\\@other.example/"}) {
    CHECK(decided(target) == "400");
  }
}

TEST_CASE("characters that no URI has are escaped in the location") {
  const std::string root = "https://example.com";
  CHECK(decided("/?a[]=1|2") == root + "/?a%5B%5D=1%7C2");
  CHECK(decided("/#a\"<>\\^`{|}") == root + "/%23a%22%3C%3E%5C%5E%60%7B%7C%7D");
  CHECK(decided("/%") == root + "/%25");
  CHECK(decided("/%4") == root + "/%254");
  CHECK(decided("/%4g%41") == root + "/%254g%41");
  CHECK(decided("/%%41") == root + "/%25%41");
}

TEST_CASE("a challenge is one for every name, with and without a route") {
  const std::string path = "/.well-known/acme-challenge/";
  CHECK(decided(path + "aB_-9") == "challenge example.com");
  CHECK(decided(path + "t", "New.example:80") == "challenge new.example");
  CHECK(decided("http://new.example" + path + "t?q") == "challenge new.example");
  CHECK(decided(path) == "challenge example.com");
  CHECK(decided(path + "t", "192.0.2.1") == "404");
  CHECK(decided(path + "t", "a b") == "400");
  CHECK(decided(path + "[", "new.example") == "challenge new.example");
}

TEST_CASE("where nobody answers challenges, they are redirected like other requests") {
  const auto head = [](const std::string& host) {
    return "GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
  };
  CHECK(decided_on(head("example.com"), 443, Challenges::kElsewhere) ==
        "https://example.com/.well-known/acme-challenge/t");
  CHECK(decided_on(head("new.example"), 443, Challenges::kElsewhere) == "404");
}

TEST_CASE("what only resembles the path of challenges is redirected") {
  for (const char* const path :
       {"/.well-known/acme-challenge", "/.well-known/ACME-challenge/t",
        "//.well-known/acme-challenge/t", "/?/.well-known/acme-challenge/t",
        "/%2ewell-known/acme-challenge/t"}) {
    CHECK(decided(path) == "https://example.com" + std::string(path));
  }
}

}  // namespace
}  // namespace mc::http
