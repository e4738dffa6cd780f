// SPDX-License-Identifier: Apache-2.0
#pragma once
// Durations as people write them in the configuration and read them in status and logs.

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace mc {

/// Reads "5s", "250ms", "1h30m", "1.5s", "30d": one or more numbers, each with a unit of d (24
/// hours), h, m, s or ms, in any order, without spaces or sign. "0" and "0s" are zero. Resolution:
/// 1 ms. Errors name the text.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

/// Writes whole seconds as "4h32m10s", "5m0s", "10s"; below a second "250ms"; with a rest "1.5s".
std::string format_duration(std::chrono::milliseconds duration);

}  // namespace mc
