// SPDX-License-Identifier: Apache-2.0
#include "dns/schedule.hpp"

#include <cstdint>

#include "base/mix.hpp"
#include "dns/limits.hpp"
#include "support/catch.hpp"

using namespace mc;
using namespace mc::dns;
using namespace std::chrono_literals;

namespace {

struct Range {
  std::chrono::milliseconds least = std::chrono::hours(1), most{0};
};

/// The extremes of a wait over many random numbers.
template <class Wait>
Range range_of(Wait wait) {
  Random random(1);
  Range range;
  for (int i = 0; i < 100'000; ++i) {
    const std::chrono::milliseconds one = wait(random.next());
    range = {.least = std::min(range.least, one), .most = std::max(range.most, one)};
  }
  return range;
}

Range refresh(std::chrono::seconds ttl, const Settings& settings = {}) {
  return range_of([&](std::uint64_t random) { return refresh_after(ttl, settings, random); });
}

Range retry(std::uint64_t failures) {
  return range_of([&](std::uint64_t random) { return retry_after(failures, random); });
}

}  // namespace

TEST_CASE("a TTL within the bounds is the wait, jittered by a tenth to both sides") {
  const Range range = refresh(60s);
  CHECK(range.least == 54s);
  CHECK(range.most == 66s);
}

TEST_CASE("a TTL outside the bounds is the bound") {
  CHECK(refresh(0s).least == 4'500ms);
  CHECK(refresh(0s).most == 5'500ms);
  CHECK(refresh(std::chrono::seconds(0x7fffffff)).least == 270s);
  CHECK(refresh(std::chrono::seconds(0x7fffffff)).most == 330s);
}

TEST_CASE("bounds of a few milliseconds are possible") {
  const Settings settings{.ttl_min = 1ms, .ttl_max = 1ms};
  CHECK(refresh(5s, settings).least == 1ms);
  CHECK(refresh(5s, settings).most == 1ms);
}

TEST_CASE("failures are retried after 1 s, then twice as late each time, at most a minute") {
  CHECK(retry(1).least == 900ms);
  CHECK(retry(1).most == 1'100ms);
  CHECK(retry(2).most == 2'200ms);
  CHECK(retry(6).most == 35'200ms);
  CHECK(retry(7).least == 54s);
  CHECK(retry(7).most == 66s);
  CHECK(retry(~std::uint64_t{0}).most == 66s);
}
