// SPDX-License-Identifier: Apache-2.0
#include "config/problem.hpp"

#include <string>
#include <vector>

#include "config/limits.hpp"
#include "support/catch.hpp"

namespace mc::config {

TEST_CASE("a problem says where it is, what stands there and what is wrong with that") {
  const Problem problem{.file = "mc-proxy.toml",
                        .position = {.line = 12, .column = 3},
                        .key = "listeners[0].addr",
                        .value = "\"443\"",
                        .message = "the colon is missing"};
  CHECK(problem.to_string() ==
        "mc-proxy.toml:12:3: listeners[0].addr = \"443\": the colon is missing");
}

TEST_CASE("a problem of a key tells no value, and one of the whole file no place") {
  CHECK(Problem{.file = "f", .position = {2, 1}, .key = "x", .message = "x: unknown"}.to_string() ==
        "f:2:1: x: unknown");
  CHECK(Problem{.file = "f", .position = kWholeFile, .message = "no such file"}.to_string() ==
        "f: no such file");
}

TEST_CASE("problems are a line each, as many as a person reads, and then a number") {
  const Problem one{.file = "f", .position = kWholeFile, .message = "m"};
  CHECK(to_string(std::vector<Problem>{}).empty());
  CHECK(to_string(std::vector{one, one}) == "f: m\nf: m\n");
  std::string all;
  for (std::size_t i = 0; i < kProblemsShownMax; ++i) all += "f: m\n";
  CHECK(to_string(std::vector(kProblemsShownMax, one)) == all);
  CHECK(to_string(std::vector(kProblemsShownMax + 2, one)) == all + "and 2 more problems\n");
}

}  // namespace mc::config
