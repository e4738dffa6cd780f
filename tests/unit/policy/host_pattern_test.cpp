// SPDX-License-Identifier: Apache-2.0
#include "policy/host_pattern.hpp"

#include <string>

#include "support/catch.hpp"
#include "unit/policy/routes.hpp"

namespace mc::policy {

TEST_CASE("a pattern is read into its kind and its host, in normal form") {
  const HostPattern exact = pattern_of("App.Example.COM.");
  CHECK(exact.kind() == PatternKind::kExact);
  CHECK(exact.host() == "app.example.com");
  CHECK(exact.text() == "app.example.com");
  const HostPattern wildcard = pattern_of("*.Example.com");
  CHECK(wildcard.kind() == PatternKind::kWildcard);
  CHECK(wildcard.host() == "example.com");
  CHECK(wildcard.text() == "*.example.com");
  const HostPattern fallback = pattern_of("*");
  CHECK(fallback.kind() == PatternKind::kFallback);
  CHECK(fallback.host().empty());
  CHECK(fallback.text() == "*");
}

TEST_CASE("what is no pattern is refused for the name in it") {
  CHECK(HostPattern::parse("").error() == tls::HostNameError::kEmpty);
  CHECK(HostPattern::parse("*.").error() == tls::HostNameError::kEmpty);
  CHECK(HostPattern::parse("*.a..b").error() == tls::HostNameError::kEmptyLabel);
  for (const char* const text : {"**", "*a.org", "a.*.org", "*.*"}) {
    CAPTURE(text);
    CHECK(HostPattern::parse(text).error() == tls::HostNameError::kBadCharacter);
  }
}

TEST_CASE("a pattern's text is made of its kind and its host") {
  for (const char* const text : {"app.example.com", "*.example.com", "*"}) {
    const HostPattern pattern = pattern_of(text);
    CHECK(HostPattern::to_text(pattern.kind(), pattern.host()) == text);
  }
}

TEST_CASE("a pattern matches its name, or the names below its host, or any name") {
  const auto matches = [](const char* pattern, const char* name) {
    return pattern_of(pattern).matches(name);
  };
  CHECK(matches("app.example.com", "app.example.com"));
  CHECK_FALSE(matches("app.example.com", "an.app.example.com"));
  CHECK(matches("*.example.com", "app.example.com"));
  CHECK(matches("*.example.com", "a.b.example.com"));
  CHECK_FALSE(matches("*.example.com", "example.com"));
  CHECK_FALSE(matches("*.example.com", ".example.com"));
  CHECK_FALSE(matches("*.example.com", "app.badexample.com"));
  CHECK(matches("*", "example.com"));
  for (const char* const pattern : {"*", "*.example.com", "app.example.com"}) {
    CHECK_FALSE(matches(pattern, ""));  // no hello yet
  }
}

}  // namespace mc::policy
