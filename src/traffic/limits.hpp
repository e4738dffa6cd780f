// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many lines and events of connections are written and kept, each with its reason.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mc::traffic {

// Lines of one kind (see LineLimiter) that all workers together write in a second; the others are
// counted, and the log reports how many. Nobody reads more, and journald by default keeps some 333
// lines a second and drops the rest, important or not. No worker's share is too small for a person
// to see a pattern in.
inline constexpr std::uint32_t kLinesPerSecond = 200;
inline constexpr std::uint32_t kLinesPerSecondOfWorker = 20;
inline constexpr std::chrono::seconds kLinesWindow{1};

// Events of one kind that are kept for subscribers, at some 500 bytes each: half a second of a
// proxy that ends 10,000 sessions a second. A subscriber further behind gets the number that it has
// missed.
inline constexpr std::size_t kEventsKept = 4096;

// Events that a worker keeps while it finds the hub locked, turn after turn. A turn makes a few
// dozen.
inline constexpr std::size_t kEventsPendingMax = 1024;

}  // namespace mc::traffic
