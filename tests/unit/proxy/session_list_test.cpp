// SPDX-License-Identifier: Apache-2.0
#include "proxy/session_list.hpp"

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "support/catch.hpp"

namespace {

struct Member {
  int name = 0;
  std::uint32_t place_ = 0;
};

using List = mc::proxy::SessionList<Member>;

// Members that come and go, at most one list of them.
class Crowd {
 public:
  int come() {
    members_.push_back(std::make_unique<Member>(Member{.name = next_}));
    list.add(*members_.back());
    return next_++;
  }
  /// One member leaves; returns which.
  int go(std::size_t which) {
    const int name = members_[which]->name;
    list.remove(*members_[which]);
    std::swap(members_[which], members_.back());
    members_.pop_back();
    return name;
  }
  [[nodiscard]] std::size_t size() const { return members_.size(); }

  List list;

 private:
  std::vector<std::unique_ptr<Member>> members_;
  int next_ = 0;
};

// A walk, the members that it must still visit, and those that it may visit.
struct Watched {
  explicit Watched(Crowd& crowd) : walk(crowd.list) {
    for (const Member* const member : crowd.list) owed.insert(member->name);
  }
  /// Returns whether there was a member to visit.
  bool visit() {
    const Member* const member = walk.next();
    if (member == nullptr) return false;
    REQUIRE(owed.erase(member->name) == 1);  // neither a newcomer, nor visited, nor gone
    return true;
  }

  List::Walk walk;
  std::set<int> owed;
};

}  // namespace

TEST_CASE("a list knows its members, and each knows its place") {
  Crowd crowd;
  CHECK(crowd.list.empty());
  for (int i = 0; i < 10; ++i) crowd.come();
  crowd.go(0);
  crowd.go(crowd.size() - 1);
  crowd.go(4);
  CHECK(crowd.list.size() == 7);
  std::uint32_t place = 0;
  for (const Member* const member : crowd.list) CHECK(member->place_ == place++);
}

TEST_CASE("a walk visits every member once when none comes or goes") {
  Crowd crowd;
  for (int i = 0; i < 1000; ++i) crowd.come();
  Watched watched(crowd);
  while (watched.visit()) {
  }
  CHECK(watched.owed.empty());
  CHECK_FALSE(watched.visit());
}

TEST_CASE("a walk over nobody is over at once, whoever comes later") {
  Crowd crowd;
  Watched watched(crowd);
  crowd.come();
  CHECK_FALSE(watched.visit());
}

TEST_CASE("a walk ends when all members have gone") {
  Crowd crowd;
  for (int i = 0; i < 10; ++i) crowd.come();
  Watched watched(crowd);
  CHECK(watched.visit());
  while (crowd.size() > 0) crowd.go(0);
  crowd.come();
  CHECK_FALSE(watched.visit());
}

TEST_CASE("walks at one time visit everybody who stays once and no newcomers, whoever goes") {
  std::mt19937_64 random(20260820);
  for (int round = 0; round < 500; ++round) {
    Crowd crowd;
    for (auto count = random() % 64; count > 0; --count) crowd.come();
    std::list<Watched> walks;
    const auto ends_of_ten = random() % 11;
    const auto walks_max = 1 + random() % 5;
    for (int step = 0; step < 300; ++step) {
      if (walks.size() < walks_max && random() % 8 == 0) walks.emplace_back(crowd);
      if (random() % 3 == 0) {
        if (random() % 10 >= ends_of_ten) {
          crowd.come();
        } else if (crowd.size() > 0) {
          const int gone = crowd.go(random() % crowd.size());
          for (Watched& walk : walks) walk.owed.erase(gone);
        }
      }
      if (walks.empty()) continue;
      const auto which = std::next(walks.begin(), static_cast<long>(random() % walks.size()));
      if (which->visit()) continue;
      REQUIRE(which->owed.empty());
      walks.erase(which);
    }
    std::uint32_t place = 0;
    for (const Member* const member : crowd.list) REQUIRE(member->place_ == place++);
  }
}
