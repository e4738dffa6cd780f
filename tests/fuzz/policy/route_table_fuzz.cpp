// SPDX-License-Identifier: Apache-2.0
// A session with a route table, one command per line, against the plain list that says what is
// right:
//
//   +PATTERN [MATCH]   adds the route, or replaces it     -PATTERN [MATCH]   removes it
//   ?NAME [CLIENT]     looks the name up                  .                  publishes the changes
//
// MATCH is in words, as `mc-proxy routes list` prints it. So is CLIENT: its "source" is the
// address, its "alpn" the protocols on offer, with '+' between them. Lines that are not in normal
// form are passed over, as the configuration would refuse them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "policy/route_table.hpp"
#include "unit/policy/naive_routes.hpp"
#include "unit/policy/routes.hpp"

namespace {

using namespace mc::policy;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

bool is_host(std::string_view text) {
  const auto is_host_character = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  return !text.empty() && text.front() != '.' && text.back() != '.' && !text.contains("..") &&
         std::ranges::all_of(text, is_host_character);
}

/// The pattern, if it is in normal form.
std::optional<HostPattern> normal_pattern(std::string_view text) {
  auto pattern = HostPattern::parse(text);
  if (!pattern.has_value() || pattern->text() != text) return std::nullopt;
  return *std::move(pattern);
}

/// The words' match, if they are right.
std::optional<RouteMatch> valid_match(std::string_view words) {
  RouteMatchText text;
  while (!words.empty()) {
    const auto word = words.substr(0, words.find(' '));
    if (!read_word(word, text).has_value()) return std::nullopt;
    words.remove_prefix(std::min(word.size() + 1, words.size()));
  }
  auto match = parse_match(text);
  if (!match.has_value()) return std::nullopt;
  return *std::move(match);
}

/// The table and the list, with the same changes.
class Session {
 public:
  void obey(std::string_view line) {
    if (line.empty()) return;
    const char command = line.front();
    const std::string_view word = line.substr(1, line.find(' ') - 1);
    line.remove_prefix(std::min(1 + word.size() + 1, line.size()));
    const auto match = valid_match(line);
    if (!match.has_value()) return;
    switch (command) {
      case '+':
        if (auto pattern = normal_pattern(word)) add(*std::move(pattern), *match);
        return;
      case '-':
        if (const auto pattern = normal_pattern(word)) remove(*pattern, *match);
        return;
      case '?':
        if (word.empty() || is_host(word)) look_up(word, *match);
        return;
      case '.':
        publish();
        return;
    }
  }

  void publish() {
    table_ = std::move(*edit_).finish();
    edit_.emplace(table_);
    published_ = next_;
    require(hold_the_same(table_, published_), "the table has the routes it was given");
    require(table_.size() == published_.sorted().size(), "the table counts its routes");
  }

 private:
  void add(HostPattern pattern, RouteMatch match) {
    const Route route{.pattern = std::move(pattern),
                      .match = std::move(match),
                      .target = mc::SocketAddress(mc::IpAddress::v4(0x7f000001), ++port_)};
    edit_->put({.spec = route});
    next_.put(route);
  }

  void remove(const HostPattern& pattern, const RouteMatch& match) {
    require(edit_->remove(pattern, match) == next_.remove(pattern, match),
            "a removal says if there was a route");
  }

  void look_up(std::string_view name, const RouteMatch& match) {
    std::string protocols = match.alpn;
    std::ranges::replace(protocols, '+', ',');
    const Offer offer(protocols);
    const RouteQuery client{
        .name = name,
        .alpn = offer.list(),
        .client = match.sources.empty() ? mc::IpAddress() : match.sources.front().network()};
    require(agree(table_, published_, client), "a lookup answers what the list answers");
  }

  RouteTable table_;
  std::optional<RouteTable::Edit> edit_{std::in_place, table_};
  NaiveRoutes published_;
  NaiveRoutes next_;
  std::uint16_t port_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  Session session;
  while (!input.empty()) {
    const auto line = input.substr(0, input.find('\n'));
    session.obey(line);
    input.remove_prefix(std::min(line.size() + 1, input.size()));
  }
  session.publish();
  return 0;
}
