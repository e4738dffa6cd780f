// SPDX-License-Identifier: Apache-2.0
#pragma once
// The control plane's limits, each with its reason.

#include <chrono>
#include <cstddef>

namespace mc::control {

/// Changes in one request, and routes in one replacement: more than the routes of any proxy we
/// know. A commit of that many keeps the writer busy for about a second.
inline constexpr std::size_t kChangesMax = 250'000;

/// The most violations that a refusal lists: enough to work on; for a batch that is wrong
/// throughout, the refusal would otherwise be larger than the request.
inline constexpr std::size_t kViolationsMax = 20;

/// The largest batch whose reply has the effect of each change: more than a person reads. With the
/// longest backends (50 bytes) they are a fraction of the 4 MiB that gRPC clients take; those of
/// the largest batch would exceed it.
inline constexpr std::size_t kEffectsMax = 1'000;

/// Changes that may wait for each other. Each blocks a thread of the API; some must stay free for
/// read-only calls.
inline constexpr std::size_t kWaitingMax = 16;

/// The changes that the log and the audit table list one by one; the others are counted. Fits into
/// a text of the audit table.
inline constexpr std::size_t kDetailBytesMax = 900;

/// A refusal names the pools that exist if they are no more than these, and the first routes that
/// lead to a pool that is to be removed: enough to see the mistake.
inline constexpr std::size_t kPoolsNamed = 8;
inline constexpr std::size_t kRoutesNamed = 3;

/// The failing names of backends that the warning about them names: enough to see whether it is one
/// name or all.
inline constexpr std::size_t kNamesNamed = 4;

/// Between two writes of answers of DNS: names with short TTLs and changing answers must not keep
/// the disk busy. A crash or a stop loses those of that time, which a start only needs while DNS is
/// away.
inline constexpr std::chrono::seconds kAnswersEvery{10};

/// The routes of a host name that a refusal names: about half of the largest number. With the
/// longest texts all of them would not fit into the 8 KiB that gRPC clients take as a status.
inline constexpr std::size_t kMatchesNamed = 8;

/// The changed backends of one pool that its text in the log and the audit table names.
inline constexpr std::size_t kBackendsNamed = 4;

}  // namespace mc::control
