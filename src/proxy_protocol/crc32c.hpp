// SPDX-License-Identifier: Apache-2.0
#pragma once
// The checksum CRC32c of RFC 3720 section 12.1 and RFC 9260 appendix A. Pure; any thread.

#include <cstdint>
#include <span>

namespace mc::proxy_protocol {

/// The checksum of `bytes`; with the checksum of what stands before them, that of both together.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::uint32_t before = 0);

}  // namespace mc::proxy_protocol
