// SPDX-License-Identifier: Apache-2.0
#pragma once
// The metrics endpoint's limits, each with its reason.

#include <chrono>
#include <cstddef>

namespace mc::metrics {

/// Connections at a time: a few Prometheus servers, a person with curl, and room for slow clients.
/// A new one replaces one that has not sent a request yet, so that idle connections do not keep
/// Prometheus out.
inline constexpr std::size_t kConnectionsMax = 16;

/// From accept to the last byte of the response: Prometheus's own default timeout.
inline constexpr std::chrono::milliseconds kAnswerWaitMax{10'000};

/// The maximum age of a scrape's text. So a client that scrapes without end costs the workers ten
/// texts a second, and the sending.
inline constexpr std::chrono::milliseconds kTextAgeMax{100};

/// How long accepting pauses when there is no descriptor: nothing reports that one is free.
inline constexpr std::chrono::milliseconds kAcceptPause{100};

/// Backends of pools with series of their own, the first ones by the names of their pools. Each has
/// ten series and some 1 KB of text, so all of them stay below 10 MB a scrape; further ones are in
/// the listing of the admin API.
inline constexpr std::size_t kBackendsMax = 10'000;

/// Names of backends with a series of their own, likewise: some 100 bytes each.
inline constexpr std::size_t kNamesMax = 10'000;

}  // namespace mc::metrics
