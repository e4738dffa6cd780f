// SPDX-License-Identifier: Apache-2.0
#pragma once
// The configuration's limits, each with its reason. A value past one is a problem that names it.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mc::config {

/// The largest file that is read: room for some 50,000 routes. Add more at run time: the database
/// keeps them.
inline constexpr std::size_t kConfigBytesMax = 8 * 1024 * 1024;

/// The most parts of a dotted key ("a.b.c" has three). Ours have two; the TOML parser recurses once
/// for each, and its stack is limited.
inline constexpr std::size_t kKeyPartsMax = 16;

/// Listeners and redirects together. Each worker holds a socket for each: 256 of them on 128 CPUs
/// are 32,768 descriptors.
inline constexpr std::size_t kListenersMax = 256;

/// More than any machine's CPUs; a worker costs a thread and a ring even when idle.
inline constexpr std::int64_t kWorkersMax = 1024;

/// More than the kernel gives one process (fs.nr_open is 2^20 unless raised, at most 2^31).
inline constexpr std::int64_t kConnectionsMax = 1'000'000'000;

/// The longest of all timeouts: catches a slip of the digits ("100000h"). idle_timeout = "0s" keeps
/// idle connections for ever.
inline constexpr std::chrono::milliseconds kTimeoutMax = std::chrono::hours(24);

/// The prefixes from which a listener takes PROXY headers: more than any CDN publishes. Each is
/// compared at each accept.
inline constexpr std::size_t kSendersMax = 1024;

/// The receiver of a PROXY header waits for at least 3 s, a retransmission of TCP (section 2 of
/// the specification).
inline constexpr std::chrono::milliseconds kProxyHeaderTimeoutMin{3'000};

/// A client is not taken for a silent one within the round trip of a slow network.
inline constexpr std::chrono::milliseconds kSilentMin{100};

/// Local addresses that backends are dialled from: each gives some 28,000 connections to one
/// backend, so these give 1.8 million.
inline constexpr std::size_t kSourcesMax = 64;

/// DNS servers are asked in turn. With more, an answer would come too late.
inline constexpr std::size_t kDnsServersMax = 8;

/// The shortest time for which an answer is used: servers with TTL 0 are not asked more often.
inline constexpr std::chrono::milliseconds kDnsTtlMin = std::chrono::seconds(1);

/// The most routes of a listener with metrics of their own: five lines each of some 120 bytes, so 6
/// MB a scrape. Each also costs Prometheus.
inline constexpr std::int64_t kMetricsRoutesMax = 10'000;

/// sockaddr_un::sun_path has 108, one of them for the NUL.
inline constexpr std::size_t kSocketPathBytesMax = 107;

/// The most problems that are printed: enough to work on, few enough to see the first.
inline constexpr std::size_t kProblemsShownMax = 100;

}  // namespace mc::config
