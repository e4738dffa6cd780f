// SPDX-License-Identifier: Apache-2.0
#pragma once
// Routes and clients from texts that are known to be valid.

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "net/backend_address.hpp"
#include "policy/live_route.hpp"

namespace mc::policy {

inline HostPattern pattern_of(std::string_view text) { return HostPattern::parse(text).value(); }

/// From words as `mc-proxy routes list` prints them: "alpn=h2 source=10.0.0.0/8".
inline RouteMatch match_of(std::string_view words) {
  RouteMatchText text;
  while (!words.empty()) {
    const auto word = words.substr(0, words.find(' '));
    read_word(word, text).value();
    words.remove_prefix(std::min(word.size() + 1, words.size()));
  }
  return parse_match(text).value();
}

inline LiveRoute live_route(std::string_view pattern, BackendAddress backend,
                            RouteMatch match = {}) {
  return {.spec = {.pattern = pattern_of(pattern),
                   .match = std::move(match),
                   .target = std::move(backend)}};
}

/// A client's list of protocols.
class Offer {
 public:
  /// Separated by commas: "h2,http/1.1"; empty: the client offers none.
  explicit Offer(std::string_view protocols) {
    while (!protocols.empty()) {
      const auto name = protocols.substr(0, protocols.find(','));
      bytes_.push_back(static_cast<std::uint8_t>(name.size()));
      bytes_.insert(bytes_.end(), name.begin(), name.end());
      protocols.remove_prefix(std::min(name.size() + 1, protocols.size()));
    }
  }
  /// Points into this object.
  [[nodiscard]] tls::AlpnList list() const {
    return tls::AlpnList::from(bytes_).value_or(tls::AlpnList());
  }

 private:
  std::vector<std::uint8_t> bytes_;
};

}  // namespace mc::policy
