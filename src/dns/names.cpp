// SPDX-License-Identifier: Apache-2.0
#include "dns/names.hpp"

#include <algorithm>

#include "dns/schedule.hpp"

namespace mc::dns {

void Names::set(const std::vector<std::string>& names, Instant now) {
  const std::set<std::string_view> wanted(names.begin(), names.end());
  for (auto entry = records_.begin(); entry != records_.end();) {
    const auto here = entry++;
    if (!wanted.contains(here->first)) forget(here);
  }
  for (const std::string_view name : wanted) {
    const auto [entry, is_new] = records_.try_emplace(std::string(name));
    if (is_new) make_due(*entry, now);
  }
}

std::optional<Query> Names::begin_due(Instant now) {
  if (due_.empty() || due_.begin()->first > now) return std::nullopt;
  const auto entry = records_.find(due_.begin()->second);
  due_.erase(due_.begin());
  entry->second.query = ++last_query_;
  return Query{.id = last_query_, .name = entry->first};
}

std::optional<Instant> Names::next_due() const {
  if (due_.empty()) return std::nullopt;
  return due_.begin()->first;
}

std::optional<News> Names::end(const Query& query, const Replies& replies, Instant now) {
  const auto entry = records_.find(query.name);
  if (entry == records_.end() || entry->second.query != query.id) return std::nullopt;
  Record& record = entry->second;
  auto failure = failure_of(replies);
  count_failure(record, failure.has_value() || is_partial(replies));
  make_due(*entry, now + wait_after(record, replies));
  return failure ? fail(record, *std::move(failure)) : answer(record, replies, now);
}

// A name whose answer is partial is asked for again when a failed one would be, unless its TTL ends
// before.
std::chrono::milliseconds Names::wait_after(const Record& record, const Replies& replies) {
  const bool is_answer = !failure_of(replies).has_value();
  const auto retry = retry_after(record.failures, random_.next());
  if (!is_answer) return retry;
  const auto refresh = refresh_after(ttl_of(replies), settings_, random_.next());
  return record.failures > 0 ? std::min(refresh, retry) : refresh;
}

void Names::start_over(Instant now) {
  for (auto& entry : records_) {
    if (entry.second.query != 0 || entry.second.failures > 0) make_due(entry, now);
  }
}

std::vector<Status> Names::status() const {
  std::vector<Status> all;
  all.reserve(records_.size());
  for (const auto& [name, record] : records_) {
    all.push_back({.name = name,
                   .last_answer = record.last_answer,
                   .failure = record.failure ? record.failure->why : "",
                   .addresses = record.reported ? record.reported->addresses.size() : 0,
                   .ttl = record.ttl});
  }
  return all;
}

void Names::make_due(Records::value_type& entry, Instant when) {
  auto& [name, record] = entry;
  due_.erase({record.due, name});
  record.query = 0;
  record.due = when;
  due_.emplace(when, name);
}

void Names::forget(Records::iterator entry) {
  count_failure(entry->second, false);
  due_.erase({entry->second.due, entry->first});
  records_.erase(entry);
}

void Names::count_failure(Record& record, bool is_failing) {
  if (record.failures > 0) --failing_;
  record.failures = is_failing ? record.failures + 1 : 0;
  if (record.failures > 0) ++failing_;
}

// The addresses stay: a name without an answer says nothing about the machines behind it.
std::optional<News> Names::fail(Record& record, Failure failure) {
  if (record.failure == failure) return std::nullopt;
  record.failure = failure;
  return News{.kind = News::Kind::kFails,
              .answer = record.reported.value_or(Answer()),
              .failure = std::move(failure)};
}

std::optional<News> Names::answer(Record& record, const Replies& replies, Instant now) {
  record.known.take(replies);
  record.last_answer = now;
  record.ttl = ttl_of(replies);
  const bool was_failing = std::exchange(record.failure, std::nullopt).has_value();
  auto answer = record.known.answer();
  const bool is_first = was_failing || !record.reported.has_value();
  if (!is_first && answer == record.reported) return std::nullopt;
  record.reported = answer;
  return News{.kind = is_first ? News::Kind::kResolves : News::Kind::kChanged,
              .answer = std::move(answer),
              .failure = {}};
}

}  // namespace mc::dns
