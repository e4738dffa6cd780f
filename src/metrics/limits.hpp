// SPDX-License-Identifier: Apache-2.0
#pragma once
// The metrics endpoint's limits, each with its reason.

#include <chrono>
#include <cstddef>

namespace mc::metrics {

/// Connections at a time: a few Prometheus servers, a person with curl, and room for those that are
/// slow. When another comes, one that has not asked anything yet makes way, so that who only holds
/// connections open does not keep Prometheus out.
inline constexpr std::size_t kConnectionsMax = 16;

/// From accept to the last byte of the answer: what Prometheus itself waits, unless told otherwise.
inline constexpr std::chrono::milliseconds kAnswerWaitMax{10'000};

/// The largest head of a request. Prometheus sends some 300 bytes, a browser with cookies a few
/// KiB.
inline constexpr std::size_t kRequestBytesMax = 8 * 1024;

/// How old the text may be that a scrape gets. So whoever scrapes without end takes from the
/// workers the making of ten texts a second, and the sending.
inline constexpr std::chrono::milliseconds kTextAgeMax{100};

/// How long accepting rests when there is no descriptor: nothing announces that there is one.
inline constexpr std::chrono::milliseconds kAcceptPause{100};

}  // namespace mc::metrics
