// SPDX-License-Identifier: Apache-2.0
#include "dns/names.hpp"

#include "support/catch.hpp"
#include "unit/dns/replies.hpp"

using namespace mc;
using namespace mc::dns;
using namespace mc::dns::testing;
using namespace std::chrono_literals;

namespace {

constexpr Instant kStart{1'000'000ms};

/// Names whose clock stands where the test puts it.
class Kept {
 public:
  explicit Kept(std::vector<std::string> names) { names_.set(names, now_); }

  Names& operator*() { return names_; }
  Names* operator->() { return &names_; }
  [[nodiscard]] Instant now() const { return now_; }

  /// Goes to when a query is due, and begins it.
  Query next() {
    REQUIRE(names_.next_due().has_value());
    now_ = std::max(now_, *names_.next_due());
    const auto query = names_.begin_due(now_);
    REQUIRE(query.has_value());
    return *query;
  }
  std::optional<News> end(const Query& query, const Replies& replies) {
    return names_.end(query, replies, now_);
  }
  /// The next query, which ends like this at once.
  std::optional<News> next(const Replies& replies) { return end(next(), replies); }
  /// How long from now until the next query.
  [[nodiscard]] std::chrono::milliseconds wait() { return names_.next_due().value() - now_; }

 private:
  Instant now_ = kStart;
  Names names_{Settings(), 1};
};

bool is_about(std::chrono::milliseconds wait, std::chrono::milliseconds expected) {
  return wait >= expected * 9 / 10 && wait <= expected * 11 / 10;
}

const Replies kGood{.ipv4 = has({"10.0.0.1"}), .ipv6 = no_address()};
const Replies kOther{.ipv4 = has({"10.0.0.2"}), .ipv6 = no_address()};
const Replies kNoReply{.ipv4 = failed("no reply"), .ipv6 = failed("no reply")};
const Replies kNoName{.ipv4 = no_name(), .ipv6 = no_name()};

}  // namespace

TEST_CASE("each new name is asked for at once, and once at a time") {
  Kept names({"b", "a", "a"});
  const Query first = names.next(), second = names.next();
  CHECK(std::set{first.name, second.name} == std::set<std::string>{"a", "b"});
  CHECK(names.now() == kStart);
  CHECK_FALSE(names->next_due().has_value());
  names.end(first, kGood);
  CHECK(is_about(names.wait(), 60s));
}

TEST_CASE("an answer is news if it is the first or another one") {
  Kept names({"a"});
  const auto first = names.next(kGood);
  REQUIRE(first.has_value());
  CHECK(first->kind == News::Kind::kResolves);
  CHECK(first->answer.addresses == ips({"10.0.0.1"}));
  CHECK_FALSE(names.next(kGood).has_value());
  const auto other = names.next(kOther);
  REQUIRE(other.has_value());
  CHECK(other->kind == News::Kind::kChanged);
  CHECK(other->answer.addresses == ips({"10.0.0.2"}));
}

TEST_CASE("a failure is news if it is the first or has another reason; so is its end") {
  Kept names({"a"});
  names.next(kGood);
  const auto failure = names.next(kNoReply);
  REQUIRE(failure.has_value());
  CHECK(failure->kind == News::Kind::kFails);
  CHECK(failure->failure.why == "no reply");
  CHECK(failure->answer.addresses == ips({"10.0.0.1"}));
  CHECK_FALSE(names.next(kNoReply).has_value());
  CHECK(names.next(kNoName)->failure.why == "no such name");
  CHECK(names.next(kGood)->kind == News::Kind::kResolves);
}

TEST_CASE("failures are retried later each time, until an answer comes") {
  Kept names({"a"});
  for (const auto expected : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
    names.next(kNoName);
    CHECK(is_about(names.wait(), expected));
  }
  names.next(kGood);
  CHECK(is_about(names.wait(), 60s));
  names.next(kNoReply);
  CHECK(is_about(names.wait(), 1s));
}

TEST_CASE("an answer that lacks a family is asked for again soon, and is not called a failure") {
  Kept names({"a"});
  const auto news = names.next({.ipv4 = has({"10.0.0.1"}), .ipv6 = failed("no reply")});
  REQUIRE(news.has_value());
  CHECK(news->kind == News::Kind::kResolves);
  CHECK(is_about(names.wait(), 1s));
  CHECK(names->status()[0].failure.empty());
}

TEST_CASE("names that stay keep their schedule and what is known; others are forgotten") {
  Kept names({"a", "b"});
  names.next(kGood);
  names.next(kGood);
  const auto wait = names.wait();
  names->set({"a", "b"}, names.now());
  CHECK(names.wait() == wait);
  names->set({"a"}, names.now());
  CHECK(names->status().size() == 1);
  CHECK_FALSE(names.next(kGood).has_value());
  names->set({"a", "b"}, names.now());
  CHECK(names.wait() == 0ms);
  CHECK(names.next(kGood)->kind == News::Kind::kResolves);
}

TEST_CASE("the end of a query for a name that was forgotten, and came back, is no news") {
  Kept names({"a"});
  const Query query = names.next();
  names->set({}, names.now());
  CHECK_FALSE(names.end(query, kGood).has_value());
  names->set({"a"}, names.now());
  CHECK_FALSE(names.end(query, kGood).has_value());
  CHECK(names.next(kGood).has_value());
}

TEST_CASE("a forgotten name that failed fails no more") {
  Kept names({"a"});
  names.next(kNoReply);
  CHECK(names->is_any_failing());
  names->set({}, names.now());
  CHECK_FALSE(names->is_any_failing());
}

TEST_CASE("starting over makes queries under way and failing names due, and no others") {
  Kept names({"failing", "good", "under-way"});
  names.next(kNoReply);
  names.next(kGood);
  const Query lost = names.next();
  names->start_over(names.now());
  const Query first = names.next(), second = names.next();
  CHECK(first.name == "failing");
  CHECK(second.name == "under-way");
  CHECK(names.now() == kStart);
  CHECK_FALSE(names.end(lost, kGood).has_value());
  CHECK(names.end(second, kGood).has_value());
}

TEST_CASE("the status tells of the last good answer, also during a failure") {
  Kept names({"a"});
  CHECK_FALSE(names->status()[0].last_answer.has_value());
  names.next({.ipv4 = has({"10.0.0.1", "10.0.0.2"}, 0s), .ipv6 = no_address()});
  names.next(kNoName);
  const Status status = names->status()[0];
  CHECK(status.name == "a");
  CHECK(status.last_answer == kStart);
  CHECK(status.addresses == 2);
  CHECK(status.ttl == 0s);
  CHECK(status.failure == "no such name");
}
