// SPDX-License-Identifier: Apache-2.0
#include "cli/top_page.hpp"

#include <algorithm>
#include <memory>
#include <string>

#include "support/catch.hpp"

namespace mc::cli {
namespace {

std::string text_of(const TopLine& line) {
  std::string text;
  for (const TopSpan& span : line) text += span.text;
  return text;
}

std::string text_of(const std::vector<TopLine>& lines) {
  std::string text;
  for (const TopLine& line : lines) text += text_of(line) + '\n';
  return text;
}

TopNews news() {
  auto picture = std::make_shared<TopPicture>();
  picture->has_status = true;
  picture->has_rates = true;
  picture->status.set_version("0.1.0");
  picture->status.set_active_connections(3);
  picture->names = {{.name = "busy.example.com", .connections = 2, .up = 1000, .down = 10},
                    {.name = "loud.example.com", .connections = 1, .up = 10, .down = 5000}};
  TopNews made;
  made.picture = picture;
  made.failing = {{.backend = "192.0.2.1:443",
                   .failures = 7,
                   .reason = "dial_refused",
                   .ago = std::chrono::seconds(2)}};
  return made;
}

}  // namespace

TEST_CASE("a page has exactly the size of its terminal, however small") {
  for (const TopSize& size : {TopSize{80, 24}, TopSize{200, 60}, TopSize{20, 5}, TopSize{1, 1}}) {
    CAPTURE(size.columns, size.rows);
    const auto lines = lay_out(news(), {}, size);
    CHECK(lines.size() == size.rows);
    CHECK(std::ranges::all_of(
        lines, [&](const TopLine& line) { return text_of(line).size() <= size.columns; }));
  }
}

TEST_CASE("the groups are in the order that was chosen") {
  const auto page = [](TopOrder order) {
    return text_of(lay_out(news(), {.order = order}, {120, 40}));
  };
  const std::string by_connections = page(TopOrder::kConnections);
  CHECK(by_connections.find("busy.example.com") < by_connections.find("loud.example.com"));
  const std::string by_bytes_down = page(TopOrder::kDown);
  CHECK(by_bytes_down.find("loud.example.com") < by_bytes_down.find("busy.example.com"));
}

TEST_CASE("failing backends, and what is wrong with the reading, are on the page") {
  TopNews told = news();
  CHECK(text_of(lay_out(told, {}, {120, 40})).contains("192.0.2.1:443"));
  told.trouble = "the server does not answer";
  CHECK(text_of(lay_out(told, {}, {120, 40})).contains("the server does not answer"));
}

TEST_CASE("backends of pools that are out are among those that fail") {
  auto picture = std::make_shared<TopPicture>(*news().picture);
  auto& down = *picture->status.add_unavailable_backends();
  down.set_pool("app");
  down.set_address("192.0.2.7:443");
  down.set_health(mc_proxy::v1::BACKEND_HEALTH_DOWN);
  auto& drained = *picture->status.add_unavailable_backends();
  drained.set_state(mc_proxy::v1::BACKEND_STATE_DRAIN);
  TopNews told = news();
  told.picture = picture;
  const std::string page = text_of(lay_out(told, {}, {120, 40}));
  CHECK(page.contains("FAILING BACKENDS (3)"));
  CHECK(page.contains("app 192.0.2.7:443"));
  CHECK(page.contains("down"));
  CHECK(page.contains("drain"));
}

TEST_CASE("a page for a pipe has no more lines than it needs") {
  const auto lines = lay_out_once(news(), {}, 120, 10);
  CHECK(text_of(lines).contains("busy.example.com"));
  CHECK(lines.size() < 40);
}

}  // namespace mc::cli
