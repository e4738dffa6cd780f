// SPDX-License-Identifier: Apache-2.0
#pragma once
// The country codes that a firewall rule may name: those that ISO 3166-1 assigns, so that a slip
// such as "XX" or "UK" does not become a rule that never matches. Pure; any thread.

#include <string_view>

namespace mc::config {

/// Whether `code` (two capital letters) is an officially assigned alpha-2 code, or XK: not
/// assigned, but the GeoLite2 database's code for Kosovo.
bool is_country(std::string_view code);

/// The assigned code for one that is in common use but not assigned ("UK" is GB); empty if there is
/// none.
std::string_view meant_country(std::string_view code);

}  // namespace mc::config
