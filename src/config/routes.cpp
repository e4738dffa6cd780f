// SPDX-License-Identifier: Apache-2.0
#include "config/routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/quote.hpp"
#include "policy/limits.hpp"

namespace mc::config {
namespace {

// The file's key for `sources`: most routes have one.
constexpr std::string_view kSourceKey = "source";

constexpr auto kRouteKeys = [] {
  std::array<std::string_view, std::size(policy::kRouteFields) + 1> names;
  std::ranges::transform(policy::kRouteFields, names.begin(), &policy::RouteField::name);
  names.back() = kSourceKey;
  return names;
}();

void read_sources(const Section& section, RouteInFile& read, Problems& problems) {
  constexpr std::string_view kExample = "\"10.0.0.0/8\"";
  const std::size_t problems_before = problems.size();
  read.sources = section.strings(kSourceKey, kExample);
  for (const Node& source : read.sources) read.text.match.sources.push_back(source.value->text);
  if (!section.has(kSourceKey) || problems.size() > problems_before) return;
  const auto array = section.get(kSourceKey, TomlType::kArray, kExample);
  read.places.emplace("sources", *array);
  if (!read.sources.empty()) return;
  problems.add(*array->value, array->path,
               fmt::format("the list is empty; write one like [{}], or leave the key out for "
                           "clients from everywhere",
                           kExample));
}

void read_alpn(RouteInFile& read, Problems& problems) {
  const auto alpn = read.places.find("alpn");
  if (alpn == read.places.end() || !read.text.match.alpn.empty()) return;
  problems.add(*alpn->second.value, alpn->second.path,
               std::string("the protocol is empty; write one like \"acme-tls/1\", or leave the key "
                           "out for all clients"));
}

}  // namespace

RouteInFile read_route(const Node& table, Problems& problems) {
  const Section section(*table.value, table.path, kRouteKeys, problems);
  RouteInFile read;
  for (const policy::RouteField& field : policy::kRouteFields) {
    const std::string example = quote(field.example);
    const auto place = field.is_required ? section.require(field.name, TomlType::kString, example)
                                         : section.get(field.name, TomlType::kString, example);
    if (!place) continue;
    field.text(read.text) = place->value->text;
    read.places.emplace(field.name, *place);
  }
  read_alpn(read, problems);
  read_sources(section, read, problems);
  if (!section.has("backend") && !section.has("pool")) {
    problems.add(section.position(), table.path,
                 fmt::format("{}: the route has neither a backend nor a pool; write backend = "
                             "\"127.0.0.1:18443\" or pool = \"app\"",
                             table.path));
  }
  return read;
}

std::optional<policy::Route> finish_route(const RouteInFile& read, Problems& problems) {
  auto route = policy::parse_route(read.text);
  if (route) return *std::move(route);
  for (const policy::RouteError& error : route.error()) {
    if (error.source.has_value()) {
      const Node& source = read.sources[*error.source];
      problems.add(*source.value, source.path, Error{error.message});
      continue;
    }
    const auto place = read.places.find(error.field);
    if (place == read.places.end()) continue;  // what is missing is reported already
    problems.add(*place->second.value, place->second.path, Error{error.message});
  }
  return std::nullopt;
}

bool RoutesSeen::admit(const RouteInFile& read, Problems& problems) {
  const auto pattern = policy::parse_hostname(read.text.hostname);
  const auto match = policy::parse_match(read.text.match);
  if (!pattern || !match) return false;
  const Node& place = read.places.at("hostname");
  OfPattern& seen = by_pattern_[*pattern];
  const auto [first, is_new] = seen.lines.try_emplace(*match, place.value->position);
  if (!is_new) {
    problems.add(*place.value, place.path,
                 fmt::format("this listener has a route for {} already, on line {}; remove one",
                             policy::quoted(pattern->text(), to_text(*match)), first->second.line));
    return false;
  }
  if (match->empty() || ++seen.matching != policy::kMatchesPerPatternMax + 1) return true;
  problems.add(*place.value, place.path,
               fmt::format("this listener has {} routes for {} that ask for an alpn or for sources "
                           "already, the most that are possible; put several networks into one "
                           "route",
                           policy::kMatchesPerPatternMax, quote(pattern->text())));
  return false;
}

}  // namespace mc::config
