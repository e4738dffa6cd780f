// SPDX-License-Identifier: Apache-2.0
#pragma once
// Limits of both ends of the admin API, each with its reason.

#include <cstddef>

namespace mc::rpc {

/// The largest message, on either side: the largest batch, 250,000 changes of some 100 bytes, is
/// 25 MB. Parsed it may be thirty times as large, if it consists of empty elements alone: what
/// somebody with a certificate can make the server hold for a moment, 0.9 GB, measured.
inline constexpr int kMessageBytesMax = 32 * 1024 * 1024;

/// The most that is read of a certificate, key or CA file: a bundle of all public CAs has some 250
/// KB. What is larger is another file.
inline constexpr std::size_t kCredentialBytesMax = 1024 * 1024;

/// The most of a certificate's alternative names that is repeated to people.
inline constexpr std::size_t kNamesBytesMax = 256;

}  // namespace mc::rpc
