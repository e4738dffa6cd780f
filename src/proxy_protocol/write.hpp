// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes headers of the PROXY protocol. Each fits in the smallest TCP segment (536 bytes, section
// 2), so that it arrives whole. Pure functions; any thread.

#include <optional>
#include <string>
#include <string_view>

#include "proxy_protocol/header.hpp"

namespace mc::proxy_protocol {

/// The line of version 1 (section 2.1); without addresses "PROXY UNKNOWN". If one address is IPv6,
/// both are written as IPv6.
[[nodiscard]] std::string v1(const std::optional<Addresses>& addresses);

/// What a header of version 2 says beyond the addresses. There is no PP2_TYPE_SSL, in which 0 would
/// mean that a client certificate was verified (section 2.2.6), and no PP2_TYPE_ALPN, which is the
/// protocol that client and backend have yet to agree on.
struct Tlvs {
  std::optional<std::string_view> authority;  ///< At most kAuthorityBytesMax.
  std::optional<std::string_view> unique_id;  ///< At most kUniqueIdBytesMax.
  bool crc32c = false;
};

/// The header of version 2 (section 2.2): PROXY with the addresses, as v1() chooses their family;
/// without addresses LOCAL. The string holds bytes, not text.
[[nodiscard]] std::string v2(const std::optional<Addresses>& addresses, const Tlvs& tlvs);

}  // namespace mc::proxy_protocol
