// SPDX-License-Identifier: Apache-2.0
#include "server/stage.hpp"

#include "support/catch.hpp"

namespace mc::server {

TEST_CASE("a stop ends the service, and after a restart that failed makes way for the next start") {
  CHECK(action_on_stop(Serving{}, HandOver::kNone) == StopAction::kStopServing);
  CHECK(action_on_stop(Left{}, HandOver::kNone) == StopAction::kStopLeft);
}

TEST_CASE("a stop waits for a hand-over, in which the successor still needs this server") {
  CHECK(action_on_stop(Serving{}, HandOver::kUnderWay) == StopAction::kWaitForHandOver);
  CHECK(action_on_stop(Left{}, HandOver::kUnderWay) == StopAction::kWaitForHandOver);
}

TEST_CASE("a stop of a server that drains shortens its sessions' time") {
  CHECK(action_on_stop(Draining{}, HandOver::kNone) == StopAction::kStopDraining);
}

TEST_CASE("a second stop cuts the sessions, whatever the first one was") {
  CHECK(action_on_stop(Stopping{}, HandOver::kNone) == StopAction::kCut);
  CHECK(action_on_stop(Stopping{.others_until = Clock::now()}, HandOver::kNone) ==
        StopAction::kCut);
}

}  // namespace mc::server
