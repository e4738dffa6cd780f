// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much of a stranger's bytes the proxy reads before it knows the destination. A hello past a
// limit is refused as too_large as soon as one of its headers announces it, so that no client makes
// a worker wait for, or hold, more than these.

#include <cstddef>

namespace mc::tls {

/// The most a record of plaintext may carry (RFC 8446 section 5.1; RFC 5246 section 6.2.1).
inline constexpr std::size_t kRecordPayloadMax = 16384;
inline constexpr std::size_t kRecordHeaderSize = 5;
inline constexpr std::size_t kHandshakeHeaderSize = 4;

/// The longest ClientHello message, with its handshake header. A browser's with post-quantum key
/// shares is about 2 KiB; session tickets make hellos large, and their length field ends at 64 KiB.
inline constexpr std::size_t kHelloMessageMax = 65536;

/// The most raw bytes, record headers included, that a hello may take. Twice the message: a hello
/// of 64 KiB may be cut into records of 6 bytes, one in records of a single byte may have 21 KiB.
inline constexpr std::size_t kHelloStreamMax = 131072;

static_assert(kHelloStreamMax >=
                  kHelloMessageMax + kRecordHeaderSize * (kHelloMessageMax / kRecordPayloadMax + 1),
              "the longest message in full records must fit");

}  // namespace mc::tls
