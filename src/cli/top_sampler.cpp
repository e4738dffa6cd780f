// SPDX-License-Identifier: Apache-2.0
#include "cli/top_sampler.hpp"

#include <algorithm>
#include <utility>

#include "traffic/reason.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

using Clock = std::chrono::steady_clock;

// At most this share of the time is spent on listings; a proxy with very many connections is listed
// less often.
constexpr int kListingShare = 10;

// How soon to look again for a lost server.
constexpr std::chrono::milliseconds kReconnectPause{500};

constexpr std::chrono::seconds kFailuresShown{60};

std::uint64_t ended_with(const api::GetStatusResponse& status, traffic::Outcome outcome) {
  std::uint64_t all = 0;
  for (const auto& [name, count] : status.ended()) {
    // A newer server may send a reason that this program does not know.
    const auto reason = traffic::reason_named(name);
    if (reason.has_value() && traffic::info(*reason).outcome == outcome) all += count;
  }
  return all;
}

// A counter's growth; one that decreased belongs to another server.
double growth(std::uint64_t before, std::uint64_t now) {
  return now > before ? static_cast<double>(now - before) : 0;
}

std::chrono::nanoseconds since_epoch(const google::protobuf::Timestamp& time) {
  return std::chrono::seconds(time.seconds()) + std::chrono::nanoseconds(time.nanos());
}

std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }

std::vector<TopGroup> rates(const std::map<std::string, TopGroup>& groups, double seconds) {
  std::vector<TopGroup> all;
  for (const auto& [name, group] : groups) {
    all.push_back({name, group.connections, group.up / seconds, group.down / seconds});
  }
  return all;
}

}  // namespace

TopSampler::TopSampler(ClientOptions options, Client client, std::chrono::milliseconds every)
    : options_(std::move(options)),
      every_(every),
      client_(std::move(client)),
      sampled_(Clock::now()),
      pause_(every),
      sampling_([this](const std::stop_token& stop) { sample_again_and_again(stop); }),
      watching_([this](const std::stop_token& stop) { watch_again_and_again(stop); }) {}

TopNews TopSampler::latest() const {
  const std::lock_guard lock(lock_);
  return {picture_, trouble_, failing(), failing_trouble_};
}

TopNews TopSampler::first() {
  {
    std::unique_lock lock(lock_);
    changed_.wait(lock,
                  [this] { return (picture_->has_rates && has_watched_) || !trouble_.empty(); });
  }
  return latest();
}

void TopSampler::rest(const std::stop_token& stop, std::chrono::milliseconds time) {
  std::unique_lock lock(lock_);
  changed_.wait_for(lock, stop, time, [] { return false; });
}

// ---- connections

void TopSampler::sample_again_and_again(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const auto trouble = sample(stop);
    if (trouble.has_value()) {
      client_.reset();
      const std::lock_guard lock(lock_);
      trouble_ = *trouble;
      changed_.notify_all();
    }
    rest(stop, trouble.has_value() ? kReconnectPause : pause_);
  }
}

// Returns why it did not work.
std::optional<std::string> TopSampler::sample(const std::stop_token& stop) {
  if (!client_.has_value()) {
    auto client = Client::open(options_);
    if (!client.has_value()) return client.error().message;
    client_ = *std::move(client);
  }
  const Clock::time_point began = Clock::now();
  api::GetStatusResponse status;
  grpc::Status asked = client_->call(&Client::Stub::GetStatus, api::GetStatusRequest(), status);
  if (!asked.ok()) return client_->explain(asked);
  const bool is_another = status.started_at().seconds() != status_before_.started_at().seconds() ||
                          status.started_at().nanos() != status_before_.started_at().nanos();
  if (is_another) {  // the first sample, or a restarted server
    moved_.clear();
    status_before_.Clear();
  }
  Groups groups;
  for (const auto& listener : status.listeners()) groups.by_listener[listener.addr()];
  ++samples_;
  asked = list(stop, groups);
  if (!asked.ok()) return client_->explain(asked);
  std::erase_if(moved_, [this](const auto& one) { return one.second.sample != samples_; });

  const Clock::time_point now = Clock::now();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(now - began);
  pause_ = std::max(every_ - took, (kListingShare - 1) * took);
  publish(status, groups, began);
  status_before_ = std::move(status);
  sampled_ = began;
  return std::nullopt;
}

grpc::Status TopSampler::list(const std::stop_token& stop, Groups& groups) {
  grpc::ClientContext context;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  const auto take = [&](const api::ListConnectionsResponse& message) {
    for (const api::Connection& connection : message.connections()) add(connection, groups);
    return true;
  };
  return client_->read(&Client::Stub::ListConnections, api::ListConnectionsRequest(), take,
                       context);
}

void TopSampler::add(const api::Connection& connection, Groups& groups) {
  // A connection that is new since the last sample has moved all its bytes since.
  const bool is_first = !status_before_.has_started_at();
  Moved& moved = moved_[connection.id()];
  if (is_first) moved = {.up = connection.bytes_up(), .down = connection.bytes_down()};
  const double up = growth(std::exchange(moved.up, connection.bytes_up()), connection.bytes_up());
  const double down =
      growth(std::exchange(moved.down, connection.bytes_down()), connection.bytes_down());
  moved.sample = samples_;
  groups.up += up;
  groups.down += down;
  const std::string& name = connection.sni();
  for (TopGroup* const group : {&groups.by_listener[connection.listener_addr()],
                                &groups.by_name[name.empty() ? "(no hello yet)" : name],
                                &groups.by_source[host_of(connection.client())]}) {
    ++group->connections;
    group->up += up;
    group->down += down;
  }
}

void TopSampler::publish(const api::GetStatusResponse& status, const Groups& groups,
                         Clock::time_point now) {
  const api::GetStatusResponse& before = status_before_;
  const double seconds = std::chrono::duration<double>(now - sampled_).count();
  TopPicture picture;
  picture.has_status = true;
  picture.has_rates = before.has_started_at();
  picture.every = every_ + std::max(pause_ - every_, std::chrono::milliseconds(0));
  picture.status = status;
  if (picture.has_rates) {
    const auto rate = [seconds](std::uint64_t then, std::uint64_t later) {
      return growth(then, later) / seconds;
    };
    picture.accepted = rate(before.total_connections(), status.total_connections());
    picture.refused = rate(ended_with(before, traffic::Outcome::kRefused),
                           ended_with(status, traffic::Outcome::kRefused));
    picture.dial_failures = rate(ended_with(before, traffic::Outcome::kDialFailed),
                                 ended_with(status, traffic::Outcome::kDialFailed));
    // The server's sums include connections that came and went in between; the listing has those
    // that are open.
    picture.up = std::max(rate(before.bytes_up(), status.bytes_up()), groups.up / seconds);
    picture.down = std::max(rate(before.bytes_down(), status.bytes_down()), groups.down / seconds);
  }
  picture.listeners = rates(groups.by_listener, seconds);
  picture.names = rates(groups.by_name, seconds);
  picture.sources = rates(groups.by_source, seconds);
  auto shared = std::make_shared<const TopPicture>(std::move(picture));
  const std::lock_guard lock(lock_);
  picture_.swap(shared);
  trouble_.clear();
  changed_.notify_all();
}

// ---- backends that fail

void TopSampler::watch_again_and_again(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::string trouble = watch(stop);
    {
      const std::lock_guard lock(lock_);
      failing_trouble_ = std::move(trouble);
      has_watched_ = true;
      changed_.notify_all();
    }
    rest(stop, kReconnectPause);
  }
}

// Runs until the watch ends; returns why.
std::string TopSampler::watch(const std::stop_token& stop) {
  auto client = Client::open(options_);
  if (!client.has_value()) return client.error().message;
  grpc::ClientContext context;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  api::WatchEventsRequest request;
  request.add_kinds(api::EVENT_KIND_DIAL_FAILED);
  request.mutable_past_dial_failures()->set_seconds(kFailuresShown.count());
  // A new watch sends again the events that the one before has sent.
  const std::chrono::nanoseconds known = failure_seen_;
  std::chrono::nanoseconds started{};  // by the server's clock
  const auto take_one = [&](const api::WatchEventsResponse& event) {
    const std::lock_guard lock(lock_);
    const std::chrono::nanoseconds time = since_epoch(event.time());
    if (event.has_watch_started()) {
      started = time;
      failing_trouble_.clear();
      has_watched_ = true;
      changed_.notify_all();
    }
    const auto ago = std::max(started - time, std::chrono::nanoseconds(0));
    if (event.has_dial_failed() && (time > known || ago.count() == 0)) {
      failure_seen_ = time;
      take(event.dial_failed(), Clock::now() - ago);
    }
    return true;
  };
  return client->explain(client->read(&Client::Stub::WatchEvents, request, take_one, context));
}

// With lock_ held.
void TopSampler::take(const api::DialFailed& failed, Clock::time_point when) {
  const Clock::time_point oldest = Clock::now() - kFailuresShown;
  while (!seconds_.empty() && seconds_.front().begin < oldest) seconds_.pop_front();
  if (seconds_.empty() || seconds_.back().begin < when - std::chrono::seconds(1)) {
    seconds_.push_back({when, {}});
  }
  const std::string& backend = failed.connection().backend();
  ++seconds_.back().failures[backend];
  reasons_[backend] = failed.reason();
}

// With lock_ held.
std::vector<FailingBackend> TopSampler::failing() const {
  const Clock::time_point now = Clock::now();
  std::map<std::string, FailingBackend> found;
  for (const Second& second : seconds_) {
    if (second.begin < now - kFailuresShown) continue;
    for (const auto& [backend, failures] : second.failures) {
      FailingBackend& one = found[backend];
      one.failures += failures;
      one.ago = std::chrono::duration_cast<std::chrono::seconds>(now - second.begin);
    }
  }
  std::vector<FailingBackend> all;
  for (auto& [backend, one] : found) {
    one.backend = backend;
    one.reason = reasons_.at(backend);
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace mc::cli
