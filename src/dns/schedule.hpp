// SPDX-License-Identifier: Apache-2.0
#pragma once
// When a name is asked for again. Pure; the random numbers come from the caller.

#include <chrono>
#include <cstdint>

#include "dns/settings.hpp"

namespace mc::dns {

/// The wait after an answer with this TTL: within the bounds of the settings, then jittered.
std::chrono::milliseconds refresh_after(std::chrono::seconds ttl, const Settings& settings,
                                        std::uint64_t random);

/// The wait after that many failures in a row (1 or more): kRetryMin, doubling to kRetryMax, then
/// jittered.
std::chrono::milliseconds retry_after(std::uint64_t failures, std::uint64_t random);

}  // namespace mc::dns
