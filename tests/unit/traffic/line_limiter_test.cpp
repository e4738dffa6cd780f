// SPDX-License-Identifier: Apache-2.0
#include "traffic/line_limiter.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "support/catch.hpp"
#include "traffic/limits.hpp"
#include "unit/ring/loop_fixture.hpp"

namespace mc::traffic {
namespace {

struct Limited {
  static constexpr std::uint32_t kLinesMax = 5;

  std::string text() {
    log.flush();
    std::string all(65536, '\0');
    all.resize(static_cast<std::size_t>(::pread(file.get(), all.data(), all.size(), 0)));
    return all;
  }

  std::size_t admitted(std::size_t listener, Reason reason, int lines) {
    std::size_t count = 0;
    for (int i = 0; i < lines; ++i) count += limiter.admits(listener, reason, loop->now()) ? 1 : 0;
    return count;
  }

  Fd file{::memfd_create("log", MFD_CLOEXEC)};
  Log log{{.fd = file.get()}};
  std::unique_ptr<ring::Loop> loop = test::make_loop();
  std::vector<std::string> names{":443", ":8443"};
  Counter suppressed;
  LineLimiter limiter{loop->timers(), names, kLinesMax, suppressed, log};
};

TEST_CASE("a kind of line is limited by itself: its listener and its reason make it") {
  Limited limited;
  CHECK(limited.admitted(0, Reason::kNoRoute, 12) == 5);
  CHECK(limited.admitted(1, Reason::kNoRoute, 4) == 4);
  CHECK(limited.admitted(0, Reason::kDialRefused, 6) == 5);
  CHECK(limited.suppressed.value() == 8);
}

TEST_CASE("what was left out is told by kind and number, once, at the level of the kind") {
  Limited limited;
  limited.admitted(0, Reason::kNoRoute, 12);
  limited.admitted(0, Reason::kRedirected, 6);
  limited.admitted(1, Reason::kDialRefused, 6);
  limited.limiter.report();
  limited.limiter.report();
  const std::string text = limited.text();
  CHECK(std::ranges::count(text, '\n') == 3);
  CHECK(
      text.contains("level=INFO msg=\"too many similar lines; some were not logged\" "
                    "line=\"connection refused\" listener=:443 reason=no_route suppressed=7\n"));
  CHECK(
      text.contains("level=INFO msg=\"too many similar lines; some were not logged\" "
                    "line=\"connection closed\" listener=:443 reason=redirected suppressed=1\n"));
  CHECK(
      text.contains("level=WARN msg=\"too many similar lines; some were not logged\" "
                    "line=\"dial failed\" listener=:8443 reason=dial_refused suppressed=1\n"));
}

TEST_CASE("what was left out is told although no further line comes, and the next lines pass") {
  Limited limited;
  limited.admitted(0, Reason::kNoRoute, 6);
  test::turn_until(*limited.loop, [&] { return limited.text().contains("suppressed=1"); });
  CHECK(limited.admitted(0, Reason::kNoRoute, 5) == 5);
  CHECK(limited.suppressed.value() == 1);
}

TEST_CASE("workers share the lines of a second, and each has enough to see a pattern in") {
  CHECK(line_share(1) == kLinesPerSecond);
  CHECK(line_share(2) == kLinesPerSecond / 2);
  CHECK(line_share(1000) == kLinesPerSecondOfWorker);
}

}  // namespace
}  // namespace mc::traffic
