// SPDX-License-Identifier: Apache-2.0
#include "server/stage.hpp"

namespace mc::server {

StopAction action_on_stop(const Stage& stage, HandOver hand_over) {
  if (std::holds_alternative<Stopping>(stage)) return StopAction::kCut;
  if (std::holds_alternative<Draining>(stage)) return StopAction::kStopDraining;
  if (hand_over == HandOver::kUnderWay) return StopAction::kWaitForHandOver;
  return std::holds_alternative<Left>(stage) ? StopAction::kStopLeft : StopAction::kStopServing;
}

}  // namespace mc::server
