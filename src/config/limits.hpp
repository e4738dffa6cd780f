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

/// Each worker holds a socket for each listener: 256 of them on 128 CPUs are 32,768 descriptors.
inline constexpr std::size_t kListenersMax = 256;

/// More than any machine's CPUs; a worker costs a thread and a ring even when idle.
inline constexpr std::int64_t kWorkersMax = 1024;

/// More than the kernel gives one process (fs.nr_open is 2^20 unless raised, at most 2^31).
inline constexpr std::int64_t kConnectionsMax = 1'000'000'000;

/// The longest of all timeouts: catches a slip of the digits ("100000h"). idle_timeout = "0s" keeps
/// idle connections for ever.
inline constexpr std::chrono::milliseconds kTimeoutMax = std::chrono::hours(24);

/// The most routes of a listener with metrics of their own: five lines each of some 120 bytes, so 6
/// MB a scrape. Each also costs Prometheus.
inline constexpr std::int64_t kMetricsRoutesMax = 10'000;

/// sockaddr_un::sun_path has 108, one of them for the NUL.
inline constexpr std::size_t kSocketPathBytesMax = 107;

/// The most problems that are printed: enough to work on, few enough to see the first.
inline constexpr std::size_t kProblemsShownMax = 100;

}  // namespace mc::config
