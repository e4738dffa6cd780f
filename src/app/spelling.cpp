// SPDX-License-Identifier: Apache-2.0
#include "app/spelling.hpp"

#include <algorithm>
#include <cstddef>

namespace mc::app {

namespace {

constexpr std::size_t kSlipsMax = 2;

// How many letters must be put in, left out, changed or swapped with their neighbour to make one
// word of the other.
std::size_t distance(std::string_view from, std::string_view to) {
  const std::size_t columns = to.size() + 1;
  std::vector<std::size_t> table((from.size() + 1) * columns);
  const auto at = [&](std::size_t i, std::size_t j) -> std::size_t& {
    return table[i * columns + j];
  };
  for (std::size_t i = 0; i <= from.size(); ++i) {
    for (std::size_t j = 0; j <= to.size(); ++j) {
      if (i == 0 || j == 0) {
        at(i, j) = i + j;
        continue;
      }
      const std::size_t changed = from[i - 1] == to[j - 1] ? 0 : 1;
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + changed});
      const bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (swapped) at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  }
  return at(from.size(), to.size());
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = kSlipsMax + 1;
  for (const std::string& one : known) {
    // A word of a very different length is far away, however long it is.
    if (word.size() > one.size() + kSlipsMax) continue;
    const std::size_t slips = distance(word, one);
    if (slips >= best_distance || 2 * slips >= one.size()) continue;
    best = one;
    best_distance = slips;
  }
  return best;
}

}  // namespace mc::app
