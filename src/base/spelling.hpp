// SPDX-License-Identifier: Apache-2.0
#pragma once
// Suggests the known word closest to a misspelt one. Pure; any thread.

#include <span>
#include <string_view>

namespace mc {

/// The one of `known` that `word` may be a slip of: at most a third of its letters, and at least
/// one, are wrong, missing, added or swapped; or one word is the beginning of the other. Empty if
/// none is close. Points into `known`.
std::string_view closest(std::string_view word, std::span<const std::string_view> known);

}  // namespace mc
