// SPDX-License-Identifier: Apache-2.0
#include "cli/top_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/quote.hpp"
#include "cli/enum_words.hpp"
#include "cli/format.hpp"
#include "cli/pool_client.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// From this width on there are two panes side by side, each with room for its numbers and for names
// of some length.
constexpr std::size_t kColumnsForTwo = 132;
// Below this width a pane shows names and one number.
constexpr std::size_t kColumnsForRates = 56;
constexpr std::size_t kNumberColumns = 9;  // "9,999,999", " *DOWN/S", "  12.3 MB"
constexpr std::size_t kGap = 2;            // between panes

constexpr std::array<std::string_view, kTopOrders> kOrderTitles = {"CONNS", "UP/S", "DOWN/S"};

std::string per_second(double rate) {
  const auto whole = static_cast<std::uint64_t>(std::llround(rate));
  return rate > 0 && rate < 9.95 ? fmt::format("{:.1f}", rate) : format_count(whole);
}

std::string bytes_per_second(double rate) {
  return format_bytes(static_cast<std::uint64_t>(std::llround(rate)));
}

// A name on the left, and what belongs to it in columns on the right.
std::string row(std::string_view name, const std::vector<std::string>& cells, std::size_t columns) {
  std::string right;
  for (const std::string& cell : cells) right += fmt::format("{:>{}}", cell, kNumberColumns);
  if (right.size() + 2 > columns) right.erase(0, right.size() + 2 - columns);
  const std::size_t left = columns - right.size();
  return fmt::format("{:<{}}{}", fit(name, std::max<std::size_t>(left, 3) - 1), left, right)
      .substr(0, columns);
}

double value(const TopGroup& group, TopOrder order) {
  switch (order) {
    case TopOrder::kConnections:
      return static_cast<double>(group.connections);
    case TopOrder::kUp:
      return group.up;
    case TopOrder::kDown:
      return group.down;
  }
  std::unreachable();
}

std::string cell(const TopGroup& group, TopOrder order) {
  return order == TopOrder::kConnections ? format_count(group.connections)
                                         : bytes_per_second(value(group, order));
}

// The separator between a pane and the next one below it.
enum class Between : std::uint8_t { kNothing, kLine };

// A pane before the number of shown rows is known.
struct Pane {
  TopPane pane;
  std::string title;
  std::vector<TopSpan> rows;
  std::size_t shown = 0;
};

class Page {
 public:
  Page(const TopNews& news, const TopChoice& choice, std::size_t columns)
      : news_(news), picture_(*news.picture), choice_(choice), columns_(columns) {}

  void head() {
    const api::GetStatusResponse& status = picture_.status;
    const auto seconds = std::max<std::int64_t>(1, (picture_.every.count() + 500) / 1000);
    std::string right = choice_.paused ? " PAUSED" : fmt::format(" every {}s", seconds);
    if (columns_ < kColumnsForRates / 2) right.clear();
    std::string left = "mc-proxy  reading from the server";
    if (picture_.has_status) {
      left = fmt::format("mc-proxy v{}  up {}  {}  revision {}", status.version(),
                         format_seconds(std::chrono::seconds(status.uptime().seconds())), state(),
                         status.revision());
    }
    const std::size_t room = columns_ - right.size();
    add({fmt::format("{:<{}}{}", left.substr(0, room), room, right), TopStyle::kBar});
    add({fmt::format("connections {}  new {}/s  refused {}/s  dial failures {}/s",
                     format_count(status.active_connections()), per_second(picture_.accepted),
                     per_second(picture_.refused), per_second(picture_.dial_failures)),
         TopStyle::kPlain});
    add({fmt::format("up {}/s  down {}/s  accepted {}{}", bytes_per_second(picture_.up),
                     bytes_per_second(picture_.down), format_count(status.total_connections()),
                     draining()),
         TopStyle::kPlain});
    const std::string trouble =
        news_.trouble.empty() ? "" : "no reply, trying again: " + printable(news_.trouble);
    add({trouble, TopStyle::kBad});
  }

  /// The panes, in at most `rows` rows, each with at most `entries`.
  void panes(std::size_t rows, std::size_t entries) {
    const bool beside = columns_ >= kColumnsForTwo;
    const std::size_t width = beside ? (columns_ - kGap) / 2 : columns_;
    std::vector<Pane> left = {groups(TopPane::kListeners, "LISTENERS", picture_.listeners, width),
                              groups(TopPane::kNames, "NAMES", picture_.names, width)};
    std::vector<Pane> right = {failing(width),
                               groups(TopPane::kSources, "SOURCES", picture_.sources, width)};
    if (!beside) {
      std::ranges::move(right, std::back_inserter(left));
      std::ranges::swap(left[2], left[3]);
      right.clear();
    }
    // Panes side by side start in the same row.
    allot(left, rows, entries);
    if (beside) {
      allot(right, rows, entries);
      left[0].shown = right[0].shown = std::min(std::max(left[0].shown, right[0].shown), rows / 3);
      const std::size_t used = left[0].shown + 3;
      left[1].shown = right[1].shown = std::min(std::max(left[1].rows.size(), right[1].rows.size()),
                                                std::min(entries, rows > used ? rows - used : 0));
    }
    std::size_t taken = left.size() - 1;  // the lines between them
    for (const Pane& pane : left) taken += 1 + pane.shown;
    place(left, right, width, beside || taken <= rows ? Between::kLine : Between::kNothing);
  }

  /// The last row of `rows`.
  void foot(std::size_t rows) {
    lines_.resize(rows - 1);
    add({fmt::format("{:<{}}", "q quit  p pause  tab pane  left/right order", columns_),
         TopStyle::kBar});
  }

  std::vector<TopLine> lines() && { return std::move(lines_); }
  [[nodiscard]] std::size_t size() const { return lines_.size(); }

 private:
  void add(TopSpan span) {
    span.text.resize(std::min(span.text.size(), columns_));
    lines_.push_back({std::move(span)});
  }

  [[nodiscard]] std::string_view state() const {
    switch (picture_.status.state()) {
      case api::SERVER_STATE_SERVING:
        return "serving";
      case api::SERVER_STATE_PAUSED:
        return "ACCEPTING PAUSED";
      case api::SERVER_STATE_STOPPING:
        return "STOPPING";
      default:
        return "";
    }
  }

  // "  draining servers 2 (17 connections)"
  [[nodiscard]] std::string draining() const {
    const auto& servers = picture_.status.draining();
    if (servers.empty()) return {};
    std::uint64_t active = 0;
    for (const api::DrainingServer& one : servers) active += one.active_connections();
    return fmt::format("  draining servers {} ({})", servers.size(),
                       format_items(active, "connection"));
  }

  Pane groups(TopPane which, std::string_view title, std::vector<TopGroup> all,
              std::size_t width) const {
    std::ranges::sort(all, [this](const TopGroup& a, const TopGroup& b) {
      const double of_a = value(a, choice_.order);
      const double of_b = value(b, choice_.order);
      if (of_a != of_b) return of_a > of_b;
      return a.connections != b.connections ? a.connections > b.connections : a.name < b.name;
    });
    std::vector<TopOrder> shown = {TopOrder::kConnections, TopOrder::kUp, TopOrder::kDown};
    if (width < kColumnsForRates) shown = {choice_.order};
    std::vector<std::string> titles;
    for (const TopOrder order : shown) {
      titles.push_back(fmt::format("{}{}", order == choice_.order ? "*" : "",
                                   kOrderTitles[static_cast<std::size_t>(order)]));
    }
    const std::string counted = fmt::format("{} ({})", title, format_count(all.size()));
    Pane pane{.pane = which, .title = row(counted, titles, width)};
    for (const TopGroup& group : all) {
      std::vector<std::string> cells;
      for (const TopOrder order : shown) cells.push_back(cell(group, order));
      pane.rows.push_back({row(group.name, cells, width)});
    }
    return pane;
  }

  Pane failing(std::size_t width) const {
    std::vector<FailingBackend> all = news_.failing;
    std::ranges::sort(all, [](const FailingBackend& a, const FailingBackend& b) {
      return a.failures != b.failures ? a.failures > b.failures : a.backend < b.backend;
    });
    const bool narrow = width < kColumnsForRates;
    const auto cells = [narrow](std::string count, std::string last, std::string why) {
      if (narrow) return std::vector{std::move(count)};
      return std::vector{std::move(count), std::move(last), " " + std::move(why)};
    };
    const auto& unavailable = picture_.status.unavailable_backends();
    const std::size_t count = all.size() + static_cast<std::size_t>(unavailable.size());
    Pane pane{.pane = TopPane::kFailing,
              .title = row(fmt::format("FAILING BACKENDS ({})", count),
                           cells("A MINUTE", "LAST", "      WHY"), width)};
    if (news_.trouble.empty() && !news_.failing_trouble.empty()) {
      pane.rows.push_back({fit(printable(news_.failing_trouble), width), TopStyle::kBad});
    }
    for (const FailingBackend& one : all) {
      pane.rows.push_back({row(one.backend,
                               cells(format_count(one.failures), format_seconds(one.ago),
                                     fmt::format("{:>12}", one.reason)),
                               width),
                           TopStyle::kBad});
    }
    for (const api::BackendStatus& one : unavailable) {
      const std::string since = time_since(one, std::chrono::system_clock::now());
      const std::string why = is_out_of_reach(one) ? word_of(one.health()) : word_of(one.state());
      pane.rows.push_back(
          {row(fmt::format("{} {}", one.pool(), one.address()),
               cells("-", since.empty() ? "-" : since, fmt::format("{:>12}", why)), width),
           is_out_of_reach(one) ? TopStyle::kBad : TopStyle::kPlain});
    }
    return pane;
  }

  // Each pane has its title and some rows; the chosen one gets the rows that it can use first, then
  // the others in their order.
  void allot(std::vector<Pane>& panes, std::size_t rows, std::size_t entries) const {
    constexpr std::size_t kShownAtLeast = 2;
    std::size_t left = rows > panes.size() ? rows - panes.size() : 0;
    const auto give = [&](Pane& pane, std::size_t most) {
      const std::size_t wanted = std::min({pane.rows.size(), entries, most});
      const std::size_t more = std::min(wanted > pane.shown ? wanted - pane.shown : 0, left);
      pane.shown += more;
      left -= more;
    };
    for (Pane& pane : panes) give(pane, kShownAtLeast);
    for (Pane& pane : panes) {
      if (pane.pane == choice_.pane) give(pane, entries);
    }
    for (Pane& pane : panes) give(pane, entries);
  }

  void place(const std::vector<Pane>& left, const std::vector<Pane>& right, std::size_t width,
             Between between) {
    for (std::size_t i = 0; i < left.size(); ++i) {
      for (std::size_t line = 0; line <= left[i].shown; ++line) {
        lines_.push_back({at(left[i], line, width)});
        if (i >= right.size()) continue;
        lines_.back().push_back({std::string(kGap, ' ')});
        lines_.back().push_back(at(right[i], line, width));
      }
      if (between == Between::kLine && i + 1 < left.size()) lines_.push_back({});
    }
  }

  // A line of a pane: its title, one of its rows, or nothing.
  [[nodiscard]] TopSpan at(const Pane& pane, std::size_t line, std::size_t width) const {
    if (line == 0) {
      return {pane.title, pane.pane == choice_.pane ? TopStyle::kChosenTitle : TopStyle::kTitle};
    }
    if (line > pane.rows.size()) return {std::string(width, ' ')};
    TopSpan span = pane.rows[line - 1];
    span.text.resize(width, ' ');
    return span;
  }

  const TopNews& news_;
  const TopPicture& picture_;
  const TopChoice& choice_;
  const std::size_t columns_;
  std::vector<TopLine> lines_;
};

}  // namespace

std::vector<TopLine> lay_out(const TopNews& news, const TopChoice& choice, const TopSize& size) {
  Page page(news, choice, size.columns);
  page.head();
  const std::size_t taken = page.size() + 1;
  if (size.rows > taken && news.picture->has_status) {
    page.panes(size.rows - taken, size.rows);
    page.foot(size.rows);
  }
  auto lines = std::move(page).lines();
  lines.resize(size.rows);
  return lines;
}

std::vector<TopLine> lay_out_once(const TopNews& news, const TopChoice& choice, std::size_t columns,
                                  std::size_t entries) {
  Page page(news, choice, columns);
  page.head();
  constexpr std::size_t kRowsEnough = 1000;
  page.panes(kRowsEnough, entries);
  return std::move(page).lines();
}

}  // namespace mc::cli
