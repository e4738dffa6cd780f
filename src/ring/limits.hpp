// SPDX-License-Identifier: Apache-2.0
#pragma once
// The sizes of one ring, each with its reason.

#include <cstdint>

namespace mc::ring {

// Operations that one turn of the loop can queue before it must enter the kernel early.
inline constexpr unsigned kSubmissionEntries = 1024;

// Completions that the kernel can post before it uses its overflow list (and before multishot polls
// end and must be armed again). The number also sizes the kernel's table for cancellation
// (io_uring/cancel.c). Both rings together cost 320 KiB of RLIMIT_MEMLOCK where the kernel charges
// it.
inline constexpr unsigned kCompletionEntries = 16384;

// Under a tight RLIMIT_MEMLOCK the completion queue is halved down to this before giving up.
inline constexpr unsigned kCompletionEntriesMin = 2048;

static_assert(kCompletionEntriesMin >= kSubmissionEntries);

// Buffers that the kernel may fill with peeked bytes in one turn; each goes back within the turn
// that reaps it, and a peek that finds none is submitted again. Only pages that a peek touched cost
// memory.
inline constexpr unsigned kPeekBuffers = 64;

static_assert((kPeekBuffers & (kPeekBuffers - 1)) == 0, "a buffer ring's size is a power of two");

}  // namespace mc::ring
