// SPDX-License-Identifier: Apache-2.0
#include "control/name_failures.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace mc::control {
namespace {

using namespace std::chrono_literals;

const NameFailures::Time kTime{std::chrono::sys_days(std::chrono::year(2026) / 11 / 28) + 90min};

TEST_CASE("a name that fails has its last reason, and the time of the first") {
  NameFailures failures;
  CHECK(failures.text().empty());
  CHECK(failures.why("app.internal").empty());
  failures.failed("app.internal", "SERVFAIL", kTime);
  failures.failed("app.internal", "no reply", kTime + 1h);
  CHECK(failures.why("app.internal") == "no reply");
  CHECK(failures.text() ==
        "names of backends cannot be resolved, their last addresses stay in use: app.internal: no "
        "reply since 2026-11-28T01:30:00Z; check the name servers, or change the backends");
  failures.answered("app.internal");
  CHECK(failures.text().empty());
}

TEST_CASE("an outage of all names is one text of bounded length") {
  NameFailures failures;
  for (char c = 'a'; c <= 'g'; ++c) failures.failed(std::string(1, c), "SERVFAIL", kTime);
  CHECK(failures.text().contains("; d: SERVFAIL since"));
  CHECK_FALSE(failures.text().contains("e: SERVFAIL"));
  CHECK(failures.text().contains("; and 3 more; check"));
  failures.keep_only(std::vector<std::string>{"b", "f"});
  CHECK(failures.why("a").empty());
  CHECK(failures.why("f") == "SERVFAIL");
}

}  // namespace
}  // namespace mc::control
