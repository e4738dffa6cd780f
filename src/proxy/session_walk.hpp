// SPDX-License-Identifier: Apache-2.0
#pragma once
// A walk over all sessions of a worker, in slices, while sessions come and go between the slices.
// Its worker's thread only.

#include <algorithm>
#include <cstddef>
#include <optional>

namespace mc::proxy {

/// Visits every session that is there from its beginning to its own turn, at least once.
//
// Backwards: the places below left_ are to come. Where a session ends, the last one takes its
// place; so sessions only move down, and one that is to come stays to come. A newcomer, or one that
// was visited, may move there too, and be visited for nothing. New places are at the top: it ends.
class SessionWalk {
 public:
  /// Over this many sessions.
  explicit SessionWalk(std::size_t sessions) : left_(sessions) {}

  /// The place to visit next, of the `sessions` that there are now; nothing at the end.
  std::optional<std::size_t> next(std::size_t sessions) {
    left_ = std::min(left_, sessions);
    if (left_ == 0) return std::nullopt;
    return --left_;
  }

 private:
  std::size_t left_;
};

}  // namespace mc::proxy
