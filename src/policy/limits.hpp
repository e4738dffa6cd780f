// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bounds of what this room takes in, each with its reason.

#include <cstddef>

namespace mc::policy {

// A GeoIP database is copied into memory. GeoLite2-Country has some 10 MB, the largest commercial
// ones some 500 MB; a larger file is a mistake that must not use up the memory.
inline constexpr std::size_t kGeoIpBytesMax = std::size_t{1} << 30;

// How much of a database is searched for a first country before it is rejected as one of another
// kind. A country database has one within some dozens of nodes.
inline constexpr std::size_t kGeoIpProbeNodesMax = 100'000;

}  // namespace mc::policy
