// SPDX-License-Identifier: Apache-2.0
#include "metrics/names.hpp"

#include <prometheus/text_serializer.h>

#include <sstream>
#include <string>

#include "support/catch.hpp"

namespace mc::metrics {
namespace {

using namespace std::chrono_literals;

std::string text(const NameTotals& totals, std::size_t most = 10) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, collect_names(totals, most));
  return out.str();
}

TEST_CASE("queries are counted by result, and each name has the age of its last answer") {
  const std::string told =
      text({.answered = 70,
            .failed = 8,
            .names = {{.name = "a.internal", .answer_age = 1500ms},
                      {.name = "b.internal", .is_failing = true},
                      {.name = "c.internal", .is_failing = true, .answer_age = 60s}}});
  CHECK(told.contains("mc_proxy_dns_queries_total{result=\"answered\"} 70\n"));
  CHECK(told.contains("mc_proxy_dns_queries_total{result=\"failed\"} 8\n"));
  CHECK(told.contains("mc_proxy_dns_names 3\n"));
  CHECK(told.contains("mc_proxy_dns_failing_names 2\n"));
  CHECK(told.contains("mc_proxy_dns_answer_age_seconds{name=\"a.internal\"} 1.5\n"));
  CHECK(told.contains("mc_proxy_dns_answer_age_seconds{name=\"c.internal\"} 60\n"));
  CHECK_FALSE(told.contains("b.internal"));
}

TEST_CASE("without names the totals are there all the same") {
  const std::string told = text({});
  CHECK(told.contains("mc_proxy_dns_queries_total{result=\"failed\"} 0\n"));
  CHECK(told.contains("mc_proxy_dns_failing_names 0\n"));
  CHECK_FALSE(told.contains("answer_age"));
}

TEST_CASE("only the first names have series of their own") {
  const std::string told =
      text({.names = {{.name = "a", .answer_age = 1s}, {.name = "b", .answer_age = 1s}}}, 1);
  CHECK(told.contains("{name=\"a\"}"));
  CHECK_FALSE(told.contains("{name=\"b\"}"));
  CHECK(told.contains("mc_proxy_dns_names 2\n"));
}

}  // namespace
}  // namespace mc::metrics
