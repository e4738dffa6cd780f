// SPDX-License-Identifier: Apache-2.0
#pragma once
// The limits of sockets, each with its reason.

#include <chrono>
#include <cstddef>

namespace mc::net {

// Connections that wait in the kernel for a listener (clamped by net.core.somaxconn).
inline constexpr int kBacklog = 4096;

// The largest TCP segment there is, and the part of a new socket's receive window (64 KiB) up to
// which SO_RCVLOWAT needs no larger buffer.
inline constexpr std::size_t kSegmentMax = 64 * 1024;
inline constexpr std::size_t kLowWaterWithoutRoom = 32 * 1024;

// A port that a killed predecessor held is free some 10 ms after its death (rings are torn down
// asynchronously); a start retries for this long before it reports the address as in use.
inline constexpr std::chrono::milliseconds kBindRetry{500};
inline constexpr std::chrono::milliseconds kBindRetryPause{10};

}  // namespace mc::net
