// SPDX-License-Identifier: Apache-2.0
#pragma once
// The limits of resolving names, each with its reason.

#include <chrono>
#include <cstddef>

namespace mc::dns {

// Addresses of one name that are used. More would be more endpoints than a pool can check and show.
inline constexpr std::size_t kAddressesMax = 64;

// Names that are asked for at one time. Each is up to two questions in one socket per server, whose
// replies of up to 1,232 bytes fit in its receive buffer (net.core.rmem_default, 208 KiB).
inline constexpr std::size_t kUnderWayMax = 64;

// A question waits this long for its first reply and, as c-ares doubles it, twice as long for the
// second: an outage of one server is known after 6 s.
inline constexpr std::chrono::milliseconds kReplyTimeout{2'000};
inline constexpr int kTries = 2;
// Newer versions of c-ares begin with five times the server's usual latency, but at least 250 ms.
// That is nothing for a server whose usual replies come from its cache: these tries make it 2 s to
// 3.75 s, and 8 s where the latency is not known yet.
inline constexpr int kTriesWithLatency = 4;

// The UDP payload that servers may send (DNS flag day 2020): it passes every path unfragmented. A
// longer reply comes over TCP.
inline constexpr int kUdpPayloadMax = 1'232;

// A failure is remembered for at least 1 s and at most 5 minutes (RFC 9520 section 3.2); a backend
// that is back should not wait for minutes.
inline constexpr std::chrono::milliseconds kRetryMin{1'000};
inline constexpr std::chrono::milliseconds kRetryMax{60'000};

// Each wait is longer or shorter by up to this part at random, so that several proxies, or names
// with one TTL, do not ask in step.
inline constexpr int kJitterPercent = 10;

// While a name fails, resolv.conf is looked at this often: a new file ends an outage at once. Else
// it is looked at before each query.
inline constexpr std::chrono::milliseconds kResolvConfPoll{2'000};

}  // namespace mc::dns
