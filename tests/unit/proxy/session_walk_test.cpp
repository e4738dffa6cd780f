// SPDX-License-Identifier: Apache-2.0
#include "proxy/session_walk.hpp"

#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "support/catch.hpp"

using mc::proxy::SessionWalk;

namespace {

// What a worker's list of sessions does: a new one is the last, and the last one takes the place of
// one that ends.
class Sessions {
 public:
  int begin() {
    list_.push_back(next_);
    return next_++;
  }
  int end(std::size_t place) {
    const int ended = list_[place];
    list_[place] = list_.back();
    list_.pop_back();
    return ended;
  }
  [[nodiscard]] std::size_t size() const { return list_.size(); }
  [[nodiscard]] int at(std::size_t place) const { return list_[place]; }

 private:
  std::vector<int> list_;
  int next_ = 0;
};

}  // namespace

TEST_CASE("a walk visits every session once when none comes or goes") {
  SessionWalk walk(1000);
  std::set<std::size_t> seen;
  for (auto place = walk.next(1000); place.has_value(); place = walk.next(1000)) {
    CHECK(*place < 1000);
    CHECK(seen.insert(*place).second);
  }
  CHECK(seen.size() == 1000);
  CHECK_FALSE(walk.next(1000).has_value());
}

TEST_CASE("a walk over nobody is over at once") {
  SessionWalk walk(0);
  CHECK_FALSE(walk.next(0).has_value());
  CHECK_FALSE(walk.next(7).has_value());
}

TEST_CASE("a walk ends when all sessions did") {
  SessionWalk walk(1000);
  CHECK(walk.next(1000) == 999U);
  CHECK_FALSE(walk.next(0).has_value());
}

TEST_CASE("no session that stays is missed, however others come and go, and newcomers are no end") {
  std::mt19937_64 random(20260820);
  for (int round = 0; round < 2000; ++round) {
    Sessions sessions;
    std::set<int> owed;
    for (auto count = random() % 64; count > 0; --count) owed.insert(sessions.begin());
    const std::size_t visits_max = sessions.size();
    const auto churn = random() % 12;  // per slice; more ends than beginnings in some rounds
    const auto ends_of_ten = random() % 11;
    const auto slice = 1 + random() % 8;

    SessionWalk walk(sessions.size());
    std::size_t visits = 0;
    for (auto place = walk.next(sessions.size()); place.has_value();
         place = walk.next(sessions.size())) {
      REQUIRE(*place < sessions.size());
      owed.erase(sessions.at(*place));
      if (++visits % slice != 0) continue;
      for (auto changes = churn; changes > 0; --changes) {
        if (random() % 10 >= ends_of_ten) {
          sessions.begin();
        } else if (sessions.size() > 0) {
          owed.erase(sessions.end(random() % sessions.size()));
        }
      }
    }
    REQUIRE(owed.empty());
    REQUIRE(visits <= visits_max);
  }
}
