// SPDX-License-Identifier: Apache-2.0
#include "server/twin_signal.hpp"

#include "support/catch.hpp"

namespace mc::server {
namespace {

const Instant kOrder(std::chrono::hours(1));
constexpr std::chrono::milliseconds kOne{1};

}  // namespace

TEST_CASE("a signal is no twin where the keeper has ordered nothing") {
  TwinSignal twin;
  CHECK_FALSE(twin.take(Instant()));
  CHECK_FALSE(twin.take(kOrder));
}

TEST_CASE("a signal soon after the keeper's order is its twin") {
  for (const auto delay : {std::chrono::milliseconds(0), kOne, lifecycle::kTwinMax}) {
    TwinSignal twin;
    twin.expect(kOrder);
    CHECK(twin.take(kOrder + delay));
  }
}

TEST_CASE("an order has one twin") {
  TwinSignal twin;
  twin.expect(kOrder);
  CHECK(twin.take(kOrder + kOne));
  CHECK_FALSE(twin.take(kOrder + kOne));
}

TEST_CASE("a signal that comes later is another one, and so is the next") {
  TwinSignal twin;
  twin.expect(kOrder);
  CHECK_FALSE(twin.take(kOrder + lifecycle::kTwinMax + kOne));
  CHECK_FALSE(twin.take(kOrder + kOne));
}

}  // namespace mc::server
