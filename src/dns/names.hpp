// SPDX-License-Identifier: Apache-2.0
#pragma once
// The names of a resolver: when each is asked for next, what is known of it, and what of that is
// news. No I/O and no clock of its own; one thread at a time.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/mix.hpp"
#include "dns/answer.hpp"
#include "dns/reply.hpp"
#include "dns/settings.hpp"

namespace mc::dns {

/// How a name stands, for metrics and operators.
struct Status {
  std::string name;
  std::optional<Instant> last_answer;  // when the last good answer came
  std::string failure;                 // empty: the last query succeeded, or none has ended yet
  std::size_t addresses = 0;           // of the last good answer
  std::chrono::seconds ttl{0};         // of the last good answer, as the server gave it
};

/// What a resolver reports of a name.
struct News {
  enum class Kind : std::uint8_t {
    kResolves,  // the first answer, or the first after a failure
    kChanged,   // another answer
    kFails,     // the first failure, or another reason
  };
  Kind kind;
  Answer answer;    // kFails: the last good one, or empty
  Failure failure;  // kFails
};

/// One query for a name: to be made, or under way.
struct Query {
  std::uint64_t id = 0;
  std::string name;
};

class Names {
 public:
  Names(const Settings& settings, std::uint64_t seed) : settings_(settings), random_(seed) {}

  /// From now on these. New names are due at once, names that stay keep their schedule and what is
  /// known of them.
  void set(const std::vector<std::string>& names, Instant now);

  /// The next query that is due, which is under way from now on; nothing if none is.
  std::optional<Query> begin_due(Instant now);
  /// When begin_due() has a query next; nothing if all are under way.
  [[nodiscard]] std::optional<Instant> next_due() const;
  /// Nothing if there is no news, or the query is of a name that was forgotten.
  std::optional<News> end(const Query& query, const Replies& replies, Instant now);

  /// Queries under way have come to nothing, and failures may have found their remedy: all of these
  /// are due now.
  void start_over(Instant now);

  [[nodiscard]] bool is_any_failing() const { return failing_ > 0; }
  /// By name.
  [[nodiscard]] std::vector<Status> status() const;

 private:
  struct Record {
    Instant due;
    std::uint64_t query = 0;     // under way; 0: none
    std::uint64_t failures = 0;  // in a row, of queries in which a question got no answer
    Known known;
    std::optional<Answer> reported;
    std::optional<Failure> failure;  // reported, and not over
    std::optional<Instant> last_answer;
    std::chrono::seconds ttl{0};
  };
  using Records = std::map<std::string, Record, std::less<>>;

  void make_due(Records::value_type& entry, Instant when);
  void forget(Records::iterator entry);
  std::chrono::milliseconds wait_after(const Record& record, const Replies& replies);
  void count_failure(Record& record, bool is_failing);
  std::optional<News> fail(Record& record, Failure failure);
  std::optional<News> answer(Record& record, const Replies& replies, Instant now);

  const Settings settings_;
  Random random_;
  Records records_;
  // Of the records without a query under way; the texts are the records'.
  std::set<std::pair<Instant, std::string_view>> due_;
  std::uint64_t last_query_ = 0;
  std::size_t failing_ = 0;  // records with failures
};

}  // namespace mc::dns
