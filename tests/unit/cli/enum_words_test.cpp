// SPDX-License-Identifier: Apache-2.0
#include "cli/enum_words.hpp"

#include "mc_proxy/v1/admin.pb.h"
#include "support/catch.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

TEST_CASE("the word of a value is its name without the enum's, in lower case") {
  CHECK(word_of(api::EVENT_KIND_DIAL_FAILED) == "dial_failed");
  CHECK(word_of(api::FIREWALL_RULE_TYPE_CIDR) == "cidr");
  CHECK(word_of(api::CONNECTION_STAGE_HELLO) == "hello");
  CHECK(word_of(api::SERVER_STATE_PAUSED) == "paused");
}

TEST_CASE("a value that was not sent, or is of a newer server, has a word too") {
  CHECK(word_of(api::LOG_LEVEL_UNSPECIFIED) == "unknown");
  CHECK(word_of(static_cast<api::LogLevel>(99)) == "unknown");
}

TEST_CASE("the words of an enum are those that may be given, and lead back to the values") {
  CHECK(words_of<api::LogLevel>() == std::vector<std::string>{"debug", "info", "warn", "error"});
  CHECK(value_of<api::LogLevel>("warn") == api::LOG_LEVEL_WARN);
  CHECK(value_of<api::LogLevel>("unspecified") == api::LOG_LEVEL_UNSPECIFIED);
  CHECK(value_of<api::LogLevel>("loud") == api::LOG_LEVEL_UNSPECIFIED);
  for (const std::string& kind : words_of<api::EventKind>()) {
    CHECK(word_of(value_of<api::EventKind>(kind)) == kind);
  }
}

}  // namespace mc::cli
