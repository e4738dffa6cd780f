// SPDX-License-Identifier: Apache-2.0
#pragma once
// The limits of health checks, each with its reason.

#include <chrono>
#include <cstddef>

namespace mc::health {

// Targets that are checked. At the default interval of 5 s these are 4,000 checks a second, which
// took a quarter of a CPU (TLS checks of 127.0.0.0/8, 63 us each). Backends beyond that stay
// unchecked, which counts as alive.
inline constexpr std::size_t kTargetsMax = 20'000;

// Checks under way at one time, each with a socket. One that gets no answer holds its place for the
// timeout: at the default times this is enough for some 600 backends that are silent. With more,
// checks wait for a place, and the lateness shows that.
inline constexpr std::size_t kUnderWayMax = 256;

// The first checks of new targets are spread over this time, or over their interval if that is
// shorter: a start does not connect to everything at once.
inline constexpr std::chrono::milliseconds kFirstSpread{5'000};

// Each interval is longer or shorter by up to this part at random, so that several proxies do not
// check a backend in step.
inline constexpr int kJitterPercent = 10;

// A deadline that is noticed this late is no result: this process, or the machine, stood still
// meanwhile (a virtual machine that was paused), and the reply may have waited in the socket.
inline constexpr std::chrono::milliseconds kStallMax{500};

// How long a late check is shown.
inline constexpr std::chrono::seconds kLatenessShown{10};

// The ring of the checks. A check has one operation in flight, and at its end a cancellation.
inline constexpr unsigned kSubmissionEntries = 2 * kUnderWayMax;
inline constexpr unsigned kCompletionEntries = 4 * kUnderWayMax;

}  // namespace mc::health
