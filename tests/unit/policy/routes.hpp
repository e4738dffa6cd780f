// SPDX-License-Identifier: Apache-2.0
#pragma once
// Routes from texts that are known to be valid.

#include <string_view>
#include <utility>

#include "net/backend_address.hpp"
#include "policy/live_route.hpp"

namespace mc::policy {

inline HostPattern pattern_of(std::string_view text) { return HostPattern::parse(text).value(); }

inline LiveRoute live_route(std::string_view pattern, BackendAddress backend) {
  return {.spec = {pattern_of(pattern), std::move(backend)}};
}

}  // namespace mc::policy
