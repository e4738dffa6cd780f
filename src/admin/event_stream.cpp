// SPDX-License-Identifier: Apache-2.0
#include "admin/event_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "admin/limits.hpp"
#include "admin/translate.hpp"
#include "admin/translate_pool.hpp"

namespace mc::admin {

namespace api = mc_proxy::v1;

namespace {

constexpr std::array<std::pair<api::EventKind, traffic::EventKind>, traffic::kEventKinds>
    kOfTheHub = {{
        {api::EVENT_KIND_DIAL_FAILED, traffic::EventKind::kDialFailed},
        {api::EVENT_KIND_CONNECTION_REFUSED, traffic::EventKind::kRefused},
        {api::EVENT_KIND_CONNECTION_OPENED, traffic::EventKind::kOpened},
        {api::EVENT_KIND_CONNECTION_CLOSED, traffic::EventKind::kClosed},
        {api::EVENT_KIND_BACKEND_HEALTH_CHANGED, traffic::EventKind::kBackendHealth},
    }};

// Longer times mean the same, and this one can be subtracted from the time of day.
constexpr std::chrono::seconds kPastMax = std::chrono::hours(24);

google::protobuf::Timestamp now() { return to_timestamp(std::chrono::system_clock::now()); }

void fill(const traffic::Event& event, const control::Listeners& listeners,
          api::WatchEventsResponse& message) {
  *message.mutable_time() = to_timestamp(event.time);
  const auto tell = [&](api::Connection* connection) {
    to_api(event.connection, listeners, event.time, *connection);
  };
  const std::string reason(to_string(event.reason));
  switch (event.kind) {
    case traffic::EventKind::kOpened:
      tell(message.mutable_connection_opened()->mutable_connection());
      break;
    case traffic::EventKind::kClosed: {
      auto& closed = *message.mutable_connection_closed();
      tell(closed.mutable_connection());
      closed.set_reason(reason);
      *closed.mutable_duration() = to_duration(event.connection.age);
      break;
    }
    case traffic::EventKind::kRefused: {
      auto& refused = *message.mutable_connection_refused();
      tell(refused.mutable_connection());
      refused.set_reason(reason);
      break;
    }
    case traffic::EventKind::kDialFailed: {
      auto& failed = *message.mutable_dial_failed();
      tell(failed.mutable_connection());
      failed.set_reason(reason);
      failed.set_error(traffic::dial_error_text(
          event.dial_error, event.connection.backend.value_or(BackendAddress())));
      break;
    }
    case traffic::EventKind::kBackendHealth: {
      auto& changed = *message.mutable_backend_health_changed();
      changed.set_pool(event.connection.pool);
      changed.set_address(event.connection.backend.value_or(BackendAddress()).to_string());
      changed.set_health(to_api(event.health, event.is_ejected));
      changed.set_reason(event.why);
      break;
    }
  }
}

}  // namespace

// ---- the end

StreamsEnd::Stream::Stream(StreamsEnd& end) : end_(end) {
  const std::lock_guard lock(end_.lock_);
  ++end_.streams_;
}

StreamsEnd::Stream::~Stream() {
  const std::lock_guard lock(end_.lock_);
  --end_.streams_;
  end_.changed_.notify_all();
}

bool StreamsEnd::Stream::wait() {
  std::unique_lock lock(end_.lock_);
  return end_.changed_.wait_for(lock, kWatchPeriod, [this] { return end_.ended_; });
}

void StreamsEnd::notify() {
  std::unique_lock lock(lock_);
  ended_ = true;
  changed_.notify_all();
  changed_.wait_for(lock, kStreamsGrace, [this] { return streams_ == 0; });
}

// ---- the stream

grpc::Status EventStream::run(const api::WatchEventsRequest& request) {
  if (grpc::Status begun = begin(request); !begun.ok()) return begun;
  for (bool ended = false;; ended = end_.wait()) {
    bool more = true;
    while (more && failure_.ok() && !context_.IsCancelled()) {
      send_state();
      more = send_changes();
      more = send_connections() || more;
    }
    if (!failure_.ok()) return failure_;
    if (context_.IsCancelled()) return {grpc::StatusCode::CANCELLED, "the client has left"};
    if (ended) return {grpc::StatusCode::UNAVAILABLE, "the server has ended"};
  }
}

grpc::Status EventStream::begin(const api::WatchEventsRequest& request) {
  if (grpc::Status read = read_kinds(request); !read.ok()) return read;
  // Before the first message, which reports it.
  api::WatchEventsResponse first;
  auto& started = *first.mutable_watch_started();
  const store::Revision current = control_.state()->revision;
  revision_ = request.has_since_revision() ? request.since_revision() : current;
  if (revision_ > current) {
    return {
        grpc::StatusCode::OUT_OF_RANGE,
        fmt::format("since_revision is {}, but the current revision is {}: it is another server's, "
                    "or an older database was restored since; begin with an existing revision",
                    revision_, current)};
  }
  if (wants_changes_ && revision_ < current) {
    const auto oldest = control_.changes_after(revision_, 1);
    if (!oldest.has_value()) return {grpc::StatusCode::INTERNAL, oldest.error().message};
    const store::Revision last_lost = oldest->empty() ? current : oldest->front().revision - 1;
    started.set_lost_changes(last_lost - revision_);
    revision_ = last_lost;
  }
  started.set_revision(revision_);
  state_ = state_of(control_, traffic_);
  started.set_state(state_);
  *first.mutable_time() = now();
  send(first);
  return failure_;
}

grpc::Status EventStream::read_kinds(const api::WatchEventsRequest& request) {
  std::vector<bool> wanted(api::EventKind_ARRAYSIZE, request.kinds().empty());
  for (int i = 0; i < request.kinds_size(); ++i) {
    const int kind = request.kinds(i);
    if (!api::EventKind_IsValid(kind) || kind == api::EVENT_KIND_UNSPECIFIED) {
      return invalid_argument(
          fmt::format("kinds[{}]", i),
          fmt::format("{} is not a kind of event; leave kinds empty for all", kind));
    }
    wanted[static_cast<std::size_t>(kind)] = true;
  }
  wants_changes_ = wanted[api::EVENT_KIND_POLICY_CHANGED];
  wants_state_ = wanted[api::EVENT_KIND_SERVER_STATE_CHANGED];
  std::vector<traffic::EventKind> of_the_hub;
  for (const auto& [kind, there] : kOfTheHub) {
    if (wanted[kind]) of_the_hub.push_back(there);
  }
  auto since = traffic::EventHub::Subscription::Time::max();
  if (request.has_past_dial_failures()) {
    const std::chrono::seconds past(request.past_dial_failures().seconds());
    if (past < std::chrono::seconds(0)) {
      return invalid_argument("past_dial_failures", "a duration cannot be negative");
    }
    since = std::chrono::system_clock::now() - std::min(past, kPastMax);
  }
  watch_.emplace(traffic_.events(), std::move(of_the_hub), since);
  return grpc::Status::OK;
}

void EventStream::send_state() {
  const api::ServerState state = state_of(control_, traffic_);
  if (!wants_state_ || std::exchange(state_, state) == state) return;
  api::WatchEventsResponse message;
  *message.mutable_time() = now();
  message.mutable_server_state_changed()->set_state(state);
  send(message);
}

bool EventStream::send_changes() {
  // A committed change may not be in force yet: later revisions are sent the next time.
  const store::Revision current = control_.state()->revision;
  if (!wants_changes_ || revision_ >= current) return false;
  const auto records = control_.changes_after(revision_, kChangesPerRead);
  if (!records.has_value()) {
    failure_ = {grpc::StatusCode::INTERNAL, records.error().message};
    return false;
  }
  const store::Revision oldest = records->empty() ? current + 1 : records->front().revision;
  if (oldest > revision_ + 1) {
    send_lost(api::EVENT_KIND_POLICY_CHANGED, oldest - 1 - revision_);
    revision_ = oldest - 1;
  }
  for (const store::AuditRecord& record : *records) {
    if (record.revision > current || !failure_.ok()) break;
    send_change(record);
    revision_ = record.revision;
  }
  return revision_ < current;
}

void EventStream::send_change(const store::AuditRecord& record) {
  api::WatchEventsResponse message;
  *message.mutable_time() = to_timestamp(record.entry.time);
  auto& change = *message.mutable_policy_changed();
  change.set_revision(record.revision);
  change.set_action(record.entry.action);
  change.set_detail(record.entry.detail);
  change.set_who(record.entry.who);
  send(message);
}

bool EventStream::send_connections() {
  const auto seen = watch_->read(kEventsPerRead);
  for (const auto& [kind, there] : kOfTheHub) {
    send_lost(kind, seen.lost[static_cast<std::size_t>(there)]);
  }
  api::WatchEventsResponse message;
  for (const auto& event : seen.events) {
    if (!failure_.ok()) break;
    message.Clear();
    fill(*event, control_.listeners(), message);
    send(message);
  }
  return seen.events.size() == kEventsPerRead;
}

void EventStream::send_lost(api::EventKind kind, std::uint64_t count) {
  if (count == 0) return;
  api::WatchEventsResponse message;
  *message.mutable_time() = now();
  message.mutable_events_lost()->set_kind(kind);
  message.mutable_events_lost()->set_count(count);
  send(message);
}

void EventStream::send(const api::WatchEventsResponse& message) {
  if (!failure_.ok()) return;
  if (!writer_.Write(message)) failure_ = {grpc::StatusCode::CANCELLED, "the client has left"};
}

}  // namespace mc::admin
