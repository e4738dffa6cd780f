// SPDX-License-Identifier: Apache-2.0
#pragma once
// The check of our own invariants. It is always on: a proxy that goes on with a broken invariant
// sends bytes to the wrong peer. It is never for what a peer, a file or the environment can cause.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace mc::internal {

/// Prints where and why, and ends the process with SIGABRT. Uses no heap, no lock and no logger,
/// because any of them may be broken.
[[noreturn, gnu::cold, gnu::noinline]] inline void assertion_failed(const char* condition,
                                                                    const char* why,
                                                                    const char* file, int line) {
  char text[512];
  const int length = std::snprintf(text, sizeof(text), "%s:%d: assertion failed: %s (%s)\n", file,
                                   line, why, condition);
  const auto shown = static_cast<std::size_t>(std::clamp<int>(length, 0, sizeof(text) - 1));
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, text, shown);
  std::abort();
}

}  // namespace mc::internal

/// Aborts unless `condition` holds; `why` says what would be broken otherwise.
#define MC_ASSERT(condition, why) \
  (static_cast<bool>(condition)   \
       ? static_cast<void>(0)     \
       : ::mc::internal::assertion_failed(#condition, (why), __FILE__, __LINE__))
