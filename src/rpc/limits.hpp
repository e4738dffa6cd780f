// SPDX-License-Identifier: Apache-2.0
#pragma once
// Limits of both ends of the admin API, each with its reason.

#include <cstddef>

namespace mc::rpc {

/// The largest message, on either side: the largest batch, 250,000 changes of some 100 bytes, is 25
/// MB. Once parsed it may take thirty times as much memory, if it has only empty elements: a client
/// with a certificate can make the server use 0.9 GB for a moment (measured).
inline constexpr int kMessageBytesMax = 32 * 1024 * 1024;

/// The largest certificate, key or CA file: a bundle of all public CAs has about 250 KB. A larger
/// file is not one of these.
inline constexpr std::size_t kCredentialBytesMax = 1024 * 1024;

/// The longest text of a certificate's alternative names in a message.
inline constexpr std::size_t kNamesBytesMax = 256;

}  // namespace mc::rpc
