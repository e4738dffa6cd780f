// SPDX-License-Identifier: Apache-2.0
#pragma once
// Suggests the known word closest to a misspelt one. Pure; any thread.

#include <span>
#include <string_view>

namespace mc {

/// The one of `known` that `word` may be a slip of: at most a third of its letters, and at least
/// one, are wrong, missing, too many or swapped; or one word goes on where the other ends. Empty:
/// it is like none. Points into `known`.
std::string_view closest(std::string_view word, std::span<const std::string_view> known);

}  // namespace mc
