// SPDX-License-Identifier: Apache-2.0
#pragma once
// The time of day for audit entries. Any thread.

#include <chrono>

namespace mc::control {

inline std::chrono::sys_time<std::chrono::milliseconds> wall_clock() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

}  // namespace mc::control
