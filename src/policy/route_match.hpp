// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a route asks of a client besides the name, as a value and as text: a protocol that the
// client offers, and where it comes from. Decides which of the routes of one pattern suits a client
// best. Pure; any thread.

#include <compare>
#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "net/ip.hpp"
#include "tls/client_hello.hpp"

namespace mc::policy {

/// What a client must satisfy besides its name; nothing: any client does.
struct RouteMatch {
  /// A protocol that the client offers (ALPN), such as "acme-tls/1"; empty: any, or none.
  std::string alpn;
  /// One of these has the client's address. By address; none is inside another. None: any address.
  std::vector<IpPrefix> sources;

  [[nodiscard]] bool empty() const { return alpn.empty() && sources.empty(); }
  auto operator<=>(const RouteMatch&) const = default;
};

/// What is known of a client when its route is looked up. `name` and `alpn` are views.
struct RouteQuery {
  std::string_view name;  // normalised; empty: it sent none
  tls::AlpnList alpn = {};
  IpAddress client = {};
};

/// How closely a match describes a client: the greater is preferred. With a protocol before
/// without, then with sources before without, then the longest source that has the address.
struct MatchRank {
  bool by_alpn = false;
  bool by_source = false;
  int source_bits = 0;

  auto operator<=>(const MatchRank&) const = default;
};

/// The rank; nothing if the client does not satisfy the match. "acme-tls/1" is satisfied only where
/// it is the only protocol on offer (RFC 8737 section 3).
std::optional<MatchRank> rank_of(const RouteMatch& match, const RouteQuery& client);

/// A match as text: not validated yet, or written by to_text().
struct RouteMatchText {
  std::string alpn = {};
  std::vector<std::string> sources = {};

  [[nodiscard]] bool empty() const { return alpn.empty() && sources.empty(); }
  auto operator<=>(const RouteMatchText&) const = default;
};

/// The error in one field of a route.
struct RouteError {
  std::string_view field;                            // one of kRouteFields, or "sources"
  std::string message;                               // names the text and the remedy
  std::optional<std::size_t> source = std::nullopt;  // whether it is about one of the sources
};

/// Reads both fields and puts the sources into normal form: an address becomes its block, they are
/// in order, and each is there once. Or returns the errors of both.
std::expected<RouteMatch, std::vector<RouteError>> parse_match(const RouteMatchText& text);

/// Writes the form that parse_match() reads.
RouteMatchText to_text(const RouteMatch& match);

/// The match as words of a line: "alpn=acme-tls/1 source=10.0.0.0/8,192.0.2.1/32"; empty for any
/// client.
std::string to_words(const RouteMatchText& match);
/// Reads one such word into `match`. Errors name it and the correct form.
Result<void> read_word(std::string_view word, RouteMatchText& match);

/// The host name and the match of a route for the log: as the words, but of many sources only the
/// first ones.
std::string named(std::string_view hostname, const RouteMatchText& match);
/// The same within a sentence: "app.example.com" in quotation marks, then (alpn=h2).
std::string quoted(std::string_view hostname, const RouteMatchText& match);

}  // namespace mc::policy
