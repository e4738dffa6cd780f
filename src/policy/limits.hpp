// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bounds of what this room takes in, each with its reason.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mc::policy {

// A GeoIP database is copied into memory. GeoLite2-Country has some 10 MB, the largest commercial
// ones some 500 MB; a larger file is a mistake that must not use up the memory.
inline constexpr std::size_t kGeoIpBytesMax = std::size_t{1} << 30;

// How much of a database is searched for a first country before it is rejected as one of another
// kind. A country database has one within some dozens of nodes.
inline constexpr std::size_t kGeoIpProbeNodesMax = 100'000;

// A protocol's name (RFC 7301 section 3.1: its length is one byte).
inline constexpr std::size_t kAlpnBytesMax = 255;

// Sources of one route: the networks of an office or of a provider, as people write them. They are
// searched one by one for each connection to the name.
inline constexpr std::size_t kRouteSourcesMax = 64;

// The first sources of a route that a message names.
inline constexpr std::size_t kRouteSourcesNamed = 4;

// Routes of one pattern that ask for more than the name. With all of their sources a connection
// costs 1,024 comparisons, a few microseconds.
inline constexpr std::size_t kMatchesPerPatternMax = 16;

// Pools. Each change of one copies the list of all, which takes about 1 ms for this many.
inline constexpr std::size_t kPoolsMax = 10'000;

// Backends of one pool: least_connections and the hashes visit each of them for each connection.
inline constexpr std::size_t kPoolBackendsMax = 1'024;

// Addresses of one name that stand as backends: more than these would be a service of another kind.
inline constexpr std::size_t kNameAddressesMax = 64;

inline constexpr std::size_t kPoolNameBytesMax = 64;

// The largest weight. The sum of a pool's weights stays far below 2^32.
inline constexpr std::int64_t kWeightMax = 1'000;

// More than one process has (fs.nr_open).
inline constexpr std::int64_t kBackendConnectionsMax = 1'000'000'000;

// Further backends that are tried for one connection. Clients give up after 10 to 30 s.
inline constexpr std::int64_t kRetriesMax = 8;

inline constexpr std::chrono::milliseconds kDialBudgetMax = std::chrono::hours(1);
inline constexpr std::chrono::milliseconds kSlowStartMax = std::chrono::hours(24);

// Checks of a backend: not more than ten a second, and at least one a day.
inline constexpr std::chrono::milliseconds kCheckIntervalMin{100};
inline constexpr std::chrono::milliseconds kCheckIntervalMax = std::chrono::hours(24);
inline constexpr std::int64_t kRiseFallMax = 100;

// Dials that fail in a row before a backend is ejected for a while; each further ejection in a row
// is longer by as much.
inline constexpr std::uint32_t kFailuresToEject = 5;
inline constexpr std::chrono::milliseconds kEjection{10'000};
inline constexpr std::chrono::milliseconds kEjectionMax{300'000};

}  // namespace mc::policy
