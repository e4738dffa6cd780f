// SPDX-License-Identifier: Apache-2.0
#pragma once
// The open sessions of a worker, and walks over all of them that take many turns, while sessions
// come and go. Its worker's thread only.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.hpp"

namespace mc::proxy {

/// Does not own its members. They have a `place_` of type std::uint32_t that the list alone writes.
template <class Member>
class SessionList {
 public:
  class Walk;

  SessionList() = default;
  SessionList(const SessionList&) = delete;
  SessionList& operator=(const SessionList&) = delete;
  ~SessionList() { MC_ASSERT(walks_.empty(), "a walk outlives its list"); }

  void add(Member& member) {
    member.place_ = static_cast<std::uint32_t>(members_.size());
    members_.push_back(&member);
  }

  // A walk visits the places below its `left_`, downwards, so the walks divide the list into parts.
  // Removal moves one gap to the end of the list without moving a member past the front of a walk:
  // 1. The last member of the gap's part fills the gap.
  // 2. That leaves a gap where the next part begins; repeat with that part.
  void remove(const Member& member) {
    std::size_t gap = member.place_;
    std::ranges::sort(walks_, {}, [](const Walk* walk) { return walk->left_; });
    for (Walk* const walk : walks_) {
      if (walk->left_ <= gap) continue;
      gap = move(--walk->left_, gap);
    }
    move(members_.size() - 1, gap);
    members_.pop_back();
  }

  [[nodiscard]] bool empty() const { return members_.empty(); }
  [[nodiscard]] std::size_t size() const { return members_.size(); }
  /// In no particular order.
  [[nodiscard]] auto begin() const { return members_.begin(); }
  [[nodiscard]] auto end() const { return members_.end(); }

 private:
  // Returns the new gap, where the member was. The pointer left in a gap is stale.
  std::size_t move(std::size_t from, std::size_t gap) {
    if (from == gap) return gap;
    members_[gap] = members_[from];
    members_[gap]->place_ = static_cast<std::uint32_t>(gap);
    return from;
  }

  std::vector<Member*> members_;
  std::vector<Walk*> walks_;
};

/// Visits once each member that is in the list when the walk begins and still at its turn, and no
/// member added later. The list outlives it.
template <class Member>
class SessionList<Member>::Walk {
 public:
  explicit Walk(SessionList& list) : list_(list), left_(list.size()) {
    list_.walks_.push_back(this);
  }
  ~Walk() { std::erase(list_.walks_, this); }
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  /// The member to visit next, or null at the end.
  Member* next() { return left_ == 0 ? nullptr : list_.members_[--left_]; }

 private:
  friend class SessionList;

  SessionList& list_;
  std::size_t left_;
};

}  // namespace mc::proxy
