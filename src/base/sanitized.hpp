// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether this build has ASan or TSan in it, for the few places that must permit what a sanitizer
// does: it looks for leaks by ptrace(2) from a process of its own, and runs a symbolizer.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MC_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MC_SANITIZED 1
#endif
#endif

namespace mc {

#ifdef MC_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace mc
