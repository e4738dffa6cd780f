// SPDX-License-Identifier: Apache-2.0
// mc-proxy events: the events of a running server, as they happen.

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/duration.hpp"
#include "base/quote.hpp"
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "cli/enum_words.hpp"
#include "cli/format.hpp"
#include "cli/print_json.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// One event as one line: when, what, and its fields as in the log.
class Line {
 public:
  Line(const api::WatchEventsResponse& event, std::string_view what)
      : text_(fmt::format("{} {}", format_time(event.time()), what)) {}

  Line& add(std::string_view key, std::string_view value) {
    if (value.empty()) return *this;
    fmt::format_to(std::back_inserter(text_), " {}=", key);
    append_log_value(text_, value);
    return *this;
  }
  Line& add(std::string_view key, std::uint64_t value) { return add(key, fmt::to_string(value)); }
  Line& add(const api::Connection& connection) {
    return add("id", connection.id())
        .add("listener", connection.listener_addr())
        .add("client", connection.client())
        .add("via", connection.via())
        .add("sni", connection.sni())
        .add("backend", connection.backend())
        .add("route", connection.route())
        .add("pool", connection.pool());
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// The fields shown for each kind.

void add(Line& line, const api::WatchStarted& started) {
  line.add("revision", started.revision()).add("state", word_of(started.state()));
  if (started.lost_changes() > 0) line.add("lost_changes", started.lost_changes());
}

void add(Line& line, const api::PolicyChanged& change) {
  line.add("revision", change.revision())
      .add("action", change.action())
      .add("detail", change.detail())
      .add("by", change.who());
}

void add(Line& line, const api::DialFailed& failed) {
  line.add(failed.connection()).add("error", failed.error()).add("reason", failed.reason());
}

void add(Line& line, const api::ConnectionRefused& refused) {
  line.add(refused.connection()).add("reason", refused.reason());
}

void add(Line& line, const api::ConnectionOpened& opened) { line.add(opened.connection()); }

void add(Line& line, const api::ConnectionClosed& closed) {
  const auto duration = std::chrono::seconds(closed.duration().seconds()) +
                        std::chrono::milliseconds(closed.duration().nanos() / 1'000'000);
  line.add(closed.connection())
      .add("bytes_up", closed.connection().bytes_up())
      .add("bytes_down", closed.connection().bytes_down())
      .add("reason", closed.reason())
      .add("duration", format_duration(duration));
}

void add(Line& line, const api::ServerStateChanged& changed) {
  line.add("state", word_of(changed.state()));
}

void add(Line& line, const api::BackendHealthChanged& changed) {
  line.add("pool", changed.pool())
      .add("backend", changed.address())
      .add("health", word_of(changed.health()))
      .add("reason", changed.reason());
}

void add(Line& line, const api::EventsLost& lost) {
  line.add("kind", word_of(lost.kind())).add("count", lost.count());
}

std::string describe(const api::WatchEventsResponse& event) {
  const auto line = [&event](std::string_view what, const auto& shown) {
    Line told(event, what);
    add(told, shown);
    return told.text();
  };
  switch (event.event_case()) {
    case api::WatchEventsResponse::kWatchStarted:
      return line("watch_started", event.watch_started());
    case api::WatchEventsResponse::kPolicyChanged:
      return line("policy_changed", event.policy_changed());
    case api::WatchEventsResponse::kDialFailed:
      return line("dial_failed", event.dial_failed());
    case api::WatchEventsResponse::kConnectionRefused:
      return line("connection_refused", event.connection_refused());
    case api::WatchEventsResponse::kConnectionOpened:
      return line("connection_opened", event.connection_opened());
    case api::WatchEventsResponse::kConnectionClosed:
      return line("connection_closed", event.connection_closed());
    case api::WatchEventsResponse::kServerStateChanged:
      return line("server_state_changed", event.server_state_changed());
    case api::WatchEventsResponse::kBackendHealthChanged:
      return line("backend_health_changed", event.backend_health_changed());
    case api::WatchEventsResponse::kEventsLost:
      return line("events_lost", event.events_lost());
    case api::WatchEventsResponse::EVENT_NOT_SET:
      break;
  }
  return Line(event, "unknown").text();  // of a newer server
}

// Ends the call when nobody reads stdout any more (`| head`): between events there is no write that
// would fail.
class ReaderWatch {
 public:
  explicit ReaderWatch(grpc::ClientContext& context)
      : thread_([this, &context](const std::stop_token& stop) {
          constexpr int kLookAgainMs = 100;
          pollfd reader{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
          while (!stop.stop_requested()) {
            if (::poll(&reader, 1, kLookAgainMs) <= 0) continue;
            is_gone_ = true;
            context.TryCancel();
            return;
          }
        }) {}
  [[nodiscard]] bool is_gone() const { return is_gone_; }

 private:
  std::atomic<bool> is_gone_{false};
  std::jthread thread_;
};

// Prints events until it is interrupted or the server ends. No kinds: all.
int watch_events(const ClientOptions& options, const std::vector<std::string>& kinds,
                 std::optional<std::uint64_t> since_revision) {
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::WatchEventsRequest request;
  if (since_revision.has_value()) request.set_since_revision(*since_revision);
  for (const std::string& kind : kinds) request.add_kinds(value_of<api::EventKind>(kind));
  std::uint64_t revision = 0;
  const auto print = [&](const api::WatchEventsResponse& event) {
    if (event.has_watch_started()) revision = event.watch_started().revision();
    if (event.has_policy_changed()) revision = event.policy_changed().revision();
    const bool written =
        options.json ? print_json_line(event) : std::puts(describe(event).c_str()) >= 0;
    return written && std::fflush(stdout) == 0;
  };
  grpc::ClientContext context;
  const ReaderWatch reader(context);
  const grpc::Status asked = client->read(&Client::Stub::WatchEvents, request, print, context);
  if (asked.ok() || reader.is_gone()) return kDone;
  const int code = client->fail(asked, [](const std::string& field) { return "--" + field; });
  if (revision > 0) {
    complain(fmt::format("mc-proxy: to continue later: --since-revision {}", revision));
  }
  return code;
}

}  // namespace

void add_events(CommandLine& line) {
  struct Words {
    std::vector<std::string> kinds;
    std::optional<std::uint64_t> since_revision;
  };
  const auto words = std::make_shared<Words>();
  CLI::App& events = line.with_server(
      line.add("events", "Show events until interrupted; with --json, one per line",
               [words](const ClientOptions& options) {
                 return watch_events(options, words->kinds, words->since_revision);
               }));
  events.add_option("--kind", words->kinds, "Only events of this kind; can be given several times")
      ->check(CLI::IsMember(words_of<api::EventKind>()));
  events.add_option("--since-revision", words->since_revision,
                    "Start with the changes of policy after this revision");
}

}  // namespace mc::cli
