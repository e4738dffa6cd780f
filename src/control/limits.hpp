// SPDX-License-Identifier: Apache-2.0
#pragma once
// The control plane's limits, each with its reason.

#include <cstddef>

namespace mc::control {

/// Changes in one request, and routes in one replacement: more than any proxy we know of has
/// routes, and a commit of that many keeps the writer busy for about a second.
inline constexpr std::size_t kChangesMax = 250'000;

/// The most violations that a refusal lists: enough to work on; a batch that is wrong throughout
/// would otherwise answer with more than it asked.
inline constexpr std::size_t kViolationsMax = 20;

/// The largest batch that is answered with the effect of each of its changes: more than a person
/// reads. With backends of the longest kind (50 bytes) they are a fraction of the 4 MiB that gRPC
/// clients take, which those of the largest batch would exceed.
inline constexpr std::size_t kEffectsMax = 1'000;

/// Changes that may wait for each other. Each holds a thread of the API, of which some must be left
/// for those who only want to know.
inline constexpr std::size_t kWaitingMax = 16;

/// The changes that the log and the audit table tell one by one; of what is beyond, the number. It
/// fits into what the audit table keeps of a text.
inline constexpr std::size_t kDetailBytesMax = 900;

}  // namespace mc::control
