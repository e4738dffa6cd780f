// SPDX-License-Identifier: Apache-2.0
// A session with a route table, one word per line, against the plain list that says what is right:
//
//   +PATTERN   adds the route, or replaces it     -PATTERN   removes it
//   ?NAME      looks the name up                  .          publishes the changes so far
//
// Lines that are not in normal form are passed over, as the configuration would refuse them.

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
std::optional<HostPattern> pattern_of(std::string_view text) {
  auto pattern = HostPattern::parse(text);
  if (!pattern.has_value() || pattern->text() != text) return std::nullopt;
  return *std::move(pattern);
}

/// The table and the list, with the same changes.
class Session {
 public:
  void obey(std::string_view line) {
    if (line.empty()) return;
    const std::string_view word = line.substr(1);
    switch (line.front()) {
      case '+':
        if (auto pattern = pattern_of(word)) add(*std::move(pattern));
        return;
      case '-':
        if (const auto pattern = pattern_of(word)) remove(*pattern);
        return;
      case '?':
        if (word.empty() || is_host(word)) look_up(word);
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
  void add(HostPattern pattern) {
    const Route route{std::move(pattern),
                      mc::SocketAddress(mc::IpAddress::v4(0x7f000001), ++port_)};
    edit_->put({.spec = route});
    next_.put(route);
  }

  void remove(const HostPattern& pattern) {
    require(edit_->remove(pattern) == next_.remove(pattern), "a removal says if there was a route");
  }

  void look_up(std::string_view name) {
    require(agree(table_, published_, name), "a lookup answers what the list answers");
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
