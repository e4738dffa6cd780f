// SPDX-License-Identifier: Apache-2.0
#pragma once
// Suggests the known word closest to a misspelt one. Pure; any thread.

#include <string>
#include <string_view>
#include <vector>

namespace mc::app {

/// The one of `known` that `word` may be a slip of: two letters wrong, missing, too many or in the
/// wrong order, and less than half of it. Empty: it is like none.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace mc::app
