// SPDX-License-Identifier: Apache-2.0
#pragma once
// What one change of a request did. A value; any thread.

#include <cstdint>
#include <optional>

#include "policy/route.hpp"

namespace mc::control {

/// The effect of one change of a request, on top of the changes before it.
struct Effect {
  enum class Result : std::uint8_t {
    kAdded,
    kChanged,  // the route has a new target, the pool or the backend other settings
    kRemoved,
    kUnchanged,  // it existed as the change puts it
  };
  Result result = Result::kUnchanged;
  std::optional<policy::Route> previous;  // of a route, with kChanged
};

}  // namespace mc::control
