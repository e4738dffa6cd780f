// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much of a stranger's request is read.

#include <cstddef>

namespace mc::http {

/// The largest head of a request, from its first byte to the empty line. Prometheus sends some 300
/// bytes, a browser with cookies a few KiB; RFC 9112 section 3 recommends 8000 bytes for the
/// request line alone.
inline constexpr std::size_t kHeadBytesMax = 8192;

}  // namespace mc::http
