// SPDX-License-Identifier: Apache-2.0
#include "policy/route_match.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "base/quote.hpp"
#include "policy/country_code.hpp"
#include "policy/limits.hpp"

namespace mc::policy {
namespace {

constexpr std::string_view kAcme = "acme-tls/1";
constexpr std::string_view kAlpnWord = "alpn=";
constexpr std::string_view kSourceWord = "source=";

bool offers(const tls::AlpnList& offered, std::string_view protocol) {
  if (protocol == kAcme) {
    return !offered.empty() && *offered.begin() == kAcme &&
           std::next(offered.begin()) == offered.end();
  }
  return std::ranges::find(offered, protocol) != offered.end();
}

// Nothing: none of the sources has the address.
std::optional<int> longest_source(std::span<const IpPrefix> sources, const IpAddress& client) {
  std::optional<int> longest;
  for (const IpPrefix& source : sources) {
    if (source.contains(client)) longest = std::max(longest.value_or(0), source.length());
  }
  return longest;
}

}  // namespace

std::optional<MatchRank> rank_of(const RouteMatch& match, const RouteQuery& client) {
  MatchRank rank{.by_alpn = !match.alpn.empty(), .by_source = !match.sources.empty()};
  if (rank.by_alpn && !offers(client.alpn, match.alpn)) return std::nullopt;
  if (!rank.by_source) return rank;
  const auto longest = longest_source(match.sources, client.client);
  if (!longest) return std::nullopt;
  rank.source_bits = *longest;
  return rank;
}

// ---- text

namespace {

// ALPN names are bytes (RFC 7301 section 3.1); all registered ones are such text. Without commas
// and '#', a route fits into a line of `mc-proxy routes list`.
Result<std::string> parse_alpn(std::string_view text) {
  constexpr std::string_view kExamples = "one like \"acme-tls/1\" or \"h2\"";
  if (text.find_first_of(", ") != text.npos) {
    return fail(fmt::format("{}: a route asks for one protocol; write {}, and a route for each",
                            quote(text), kExamples));
  }
  if (text.size() > kAlpnBytesMax) {
    return fail(
        fmt::format("{}: a protocol's name (ALPN) has at most {} bytes, this has {}; write "
                    "{}",
                    quote(text), kAlpnBytesMax, text.size(), kExamples));
  }
  const auto is_plain = [](char c) { return c > ' ' && c <= '~' && c != '#'; };
  if (std::ranges::all_of(text, is_plain)) return std::string(text);
  return fail(fmt::format(
      "{}: not the name of a protocol (ALPN), which is visible ASCII without \"#\"; write {}",
      quote(text), kExamples));
}

Result<IpPrefix> parse_source(std::string_view text) {
  if (const auto address = IpAddress::parse(text)) return IpPrefix::only(*address);
  if (text.contains('/')) return IpPrefix::parse(text);
  const bool is_country = CountryCode::from(text).has_value();
  return fail(fmt::format("{}: {}; write one like \"10.0.0.0/8\" or \"2001:db8::1\"", quote(text),
                          is_country ? "a country, which only a firewall rule takes"
                                     : "neither a network nor an address"));
}

// `sources` is in order, so a block comes before those inside it.
Result<void> require_apart(std::span<const IpPrefix> sources) {
  for (std::size_t i = 1; i < sources.size(); ++i) {
    const IpPrefix& outer = sources[i - 1];
    if (!outer.contains(sources[i].network())) continue;
    return fail(fmt::format("{}: inside {}, which the route has, too; leave one of both out",
                            quote(sources[i].to_string()), quote(outer.to_string())));
  }
  return {};
}

std::unexpected<RouteError> fail_sources(std::string message,
                                         std::optional<std::size_t> source = std::nullopt) {
  return std::unexpected(
      RouteError{.field = "sources", .message = std::move(message), .source = source});
}

std::expected<std::vector<IpPrefix>, RouteError> parse_sources(std::span<const std::string> texts) {
  if (texts.size() > kRouteSourcesMax) {
    return fail_sources(
        fmt::format("{} sources; a route has at most {}: write larger networks, or leave some out",
                    texts.size(), kRouteSourcesMax));
  }
  std::vector<IpPrefix> sources;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto source = parse_source(texts[i]);
    if (!source) return fail_sources(std::move(source.error().message), i);
    sources.push_back(*source);
  }
  std::ranges::sort(sources);
  const auto repeated = std::ranges::unique(sources);
  sources.erase(repeated.begin(), repeated.end());
  if (auto apart = require_apart(sources); !apart) {
    return fail_sources(std::move(apart.error().message));
  }
  return sources;
}

}  // namespace

std::expected<RouteMatch, std::vector<RouteError>> parse_match(const RouteMatchText& text) {
  auto alpn = parse_alpn(text.alpn);
  auto sources = parse_sources(text.sources);
  if (alpn && sources) return RouteMatch{.alpn = *std::move(alpn), .sources = *std::move(sources)};
  std::vector<RouteError> errors;
  if (!alpn) errors.push_back({.field = "alpn", .message = std::move(alpn.error().message)});
  if (!sources) errors.push_back(std::move(sources.error()));
  return std::unexpected(std::move(errors));
}

RouteMatchText to_text(const RouteMatch& match) {
  RouteMatchText text{.alpn = match.alpn};
  for (const IpPrefix& source : match.sources) text.sources.push_back(source.to_string());
  return text;
}

// ---- words

namespace {

std::string to_words(const RouteMatchText& match, std::size_t sources_max) {
  std::string words;
  if (!match.alpn.empty()) words = fmt::format("{}{}", kAlpnWord, match.alpn);
  if (match.sources.empty()) return words;
  const std::size_t shown = std::min(match.sources.size(), sources_max);
  words += fmt::format("{}{}{}", words.empty() ? "" : " ", kSourceWord,
                       fmt::join(std::span(match.sources).first(shown), ","));
  if (shown < match.sources.size()) {
    words += fmt::format(" and {} more", match.sources.size() - shown);
  }
  return words;
}

}  // namespace

std::string to_words(const RouteMatchText& match) { return to_words(match, match.sources.size()); }

Result<void> read_word(std::string_view word, RouteMatchText& match) {
  if (word.starts_with(kAlpnWord) && word != kAlpnWord) {
    if (!match.alpn.empty()) {
      return fail(
          fmt::format("{}: a route asks for one protocol; write a route for each", quote(word)));
    }
    match.alpn = word.substr(kAlpnWord.size());
    return {};
  }
  if (!word.starts_with(kSourceWord) || word == kSourceWord) {
    return fail(
        fmt::format("{}: neither a protocol nor a source; write {}acme-tls/1 or {}10.0.0.0/8",
                    quote(word), kAlpnWord, kSourceWord));
  }
  for (auto rest = word.substr(kSourceWord.size());;) {
    const auto comma = rest.find(',');
    match.sources.emplace_back(rest.substr(0, comma));
    if (comma == rest.npos) return {};
    rest.remove_prefix(comma + 1);
  }
}

std::string named(std::string_view hostname, const RouteMatchText& match) {
  const std::string words = printable(to_words(match, kRouteSourcesNamed));
  return fmt::format("{}{}{}", hostname, words.empty() ? "" : " ", words);
}

std::string quoted(std::string_view hostname, const RouteMatchText& match) {
  const std::string words = printable(to_words(match, kRouteSourcesNamed));
  return words.empty() ? quote(hostname) : fmt::format("{} ({})", quote(hostname), words);
}

}  // namespace mc::policy
