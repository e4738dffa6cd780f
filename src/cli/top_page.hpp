// SPDX-License-Identifier: Apache-2.0
#pragma once
// A server's state laid out as lines of text, for a terminal or a pipe. Pure; any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/top_sampler.hpp"

namespace mc::cli {

enum class TopPane : std::uint8_t { kListeners, kNames, kSources, kFailing };
inline constexpr std::size_t kTopPanes = 4;

/// The sort key of the panes.
enum class TopOrder : std::uint8_t { kConnections, kUp, kDown };
inline constexpr std::size_t kTopOrders = 3;

/// What the person at the keyboard has chosen.
struct TopChoice {
  TopPane pane = TopPane::kNames;  // gets the most rows
  TopOrder order = TopOrder::kConnections;
  bool paused = false;
};

struct TopSize {
  std::size_t columns;
  std::size_t rows;
};

enum class TopStyle : std::uint8_t { kPlain, kBar, kTitle, kChosenTitle, kBad };

/// A stretch of text in one style. A line is a sequence of them.
struct TopSpan {
  std::string text;  // printable ASCII
  TopStyle style = TopStyle::kPlain;
};
using TopLine = std::vector<TopSpan>;

/// As many lines as `size` has rows, none longer than its columns.
std::vector<TopLine> lay_out(const TopNews& news, const TopChoice& choice, const TopSize& size);
/// The same for a pipe: at most `entries` in each pane, and no more lines than they need.
std::vector<TopLine> lay_out_once(const TopNews& news, const TopChoice& choice, std::size_t columns,
                                  std::size_t entries);

}  // namespace mc::cli
