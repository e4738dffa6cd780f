// SPDX-License-Identifier: Apache-2.0
#include "traffic/reporter.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/fd.hpp"
#include "policy/route_table.hpp"
#include "support/catch.hpp"
#include "unit/policy/routes.hpp"

namespace mc::traffic {
namespace {

constexpr Instant at(int seconds) { return Instant(std::chrono::seconds(seconds)); }

struct Desk {
  explicit Desk(LogLevel level = LogLevel::kInfo)
      : log({.level = level, .priorities = LogPriorities::kNever, .fd = file.get()}) {}

  std::string text() {
    log.flush();
    std::string all(65536, '\0');
    all.resize(static_cast<std::size_t>(::pread(file.get(), all.data(), all.size(), 0)));
    return all;
  }

  /// A client whose name has a route, or none.
  ConnectionFacts connection(bool has_route) {
    ConnectionFacts facts{.number = 1, .accepted_at = at(10), .name = "app.example.com"};
    facts.peer = *SocketAddress::parse("198.51.100.9:50000");
    facts.has_spoken = true;
    reporter.opened(facts);
    if (has_route) {
      facts.take_route(*routes.find({.name = facts.name}));
      reporter.routed(facts, at(10));
    }
    return facts;
  }

  std::uint64_t ended(Reason reason) { return counters.per_listener[0].of(reason).value(); }

  Fd file{::memfd_create("log", MFD_CLOEXEC)};
  Log log;
  ring::TimerWheel timers{at(0)};
  std::vector<std::string> names{":443"};
  Counters counters{1};
  EventHub hub;
  EventSource events{hub};
  LineLimiter limiter{timers, names, 5, counters.lines_suppressed, log};
  Reporter reporter{names, counters, events, limiter, log};
  policy::RouteTable routes =
      policy::RouteTable::build({policy::live_route("*", *BackendAddress::parse("192.0.2.1:443"))});
};

}  // namespace

TEST_CASE("a connection that was served leaves its counters, one event and one line") {
  Desk desk;
  EventHub::Subscription watch(desk.hub, {EventKind::kClosed});
  ConnectionFacts facts = desk.connection(true);
  desk.reporter.moved(facts, 100, 2000, at(11));
  CHECK(facts.moved_at == at(11));
  desk.reporter.relayed(facts, at(12));
  desk.reporter.ended(facts, Reason::kCompleted, at(12));
  CHECK(desk.counters.per_listener[0].active.value() == 1);
  desk.reporter.closed(facts);
  CHECK(desk.counters.per_listener[0].active.value() == 0);
  CHECK(desk.ended(Reason::kCompleted) == 1);
  CHECK(desk.counters.per_listener[0].bytes_down.value() == 2000);
  CHECK(facts.route_counts->bytes_up.load() == 100);
  CHECK(facts.route_counts->active.load() == 0);
  REQUIRE(desk.events.flush());
  CHECK(watch.read(10).events.size() == 1);
  CHECK(
      desk.text().contains("msg=\"connection closed\" listener=:443 client=198.51.100.9:50000 "
                           "sni=app.example.com ech=none backend=192.0.2.1:443 route=* "
                           "bytes_up=100 bytes_down=2000 reason=completed duration=2s\n"));
}

TEST_CASE("a connection without a route is refused, whatever ends it") {
  Desk desk;
  EventHub::Subscription watch(desk.hub, {EventKind::kRefused});
  const ConnectionFacts facts = desk.connection(false);
  desk.reporter.ended(facts, Reason::kShutdown, at(12));
  REQUIRE(desk.events.flush());
  CHECK(watch.read(10).events.front()->reason == Reason::kShutdown);
  CHECK(desk.text().contains("msg=\"connection refused\""));
}

TEST_CASE("a backend that was not reached is a warning, and counted for its route") {
  Desk desk;
  ConnectionFacts facts = desk.connection(true);
  facts.dial_error = ECONNREFUSED;
  desk.reporter.ended(facts, Reason::kDialRefused, at(12));
  CHECK(facts.route_counts->dial_failures.load() == 1);
  CHECK(desk.text().contains("level=WARN msg=\"dial failed\""));
  CHECK(desk.text().contains("error=\"Connection refused\""));
}

TEST_CASE("whoever leaves before a byte is no line at info: most of them are health checks") {
  for (const LogLevel level : {LogLevel::kInfo, LogLevel::kDebug}) {
    Desk desk(level);
    ConnectionFacts facts = desk.connection(false);
    facts.has_spoken = false;
    desk.reporter.ended(facts, Reason::kClientClosed, at(12));
    CHECK(desk.text().contains("connection refused") == (level == LogLevel::kDebug));
    CHECK(desk.ended(Reason::kClientClosed) == 1);
  }
}

TEST_CASE("lines of redirects are limited: no backend limits them") {
  Desk desk;
  for (int i = 0; i < 20; ++i) {
    ConnectionFacts facts = desk.connection(false);
    facts.way = Way::kRedirect;
    desk.reporter.ended(facts, Reason::kRedirected, at(10));
  }
  CHECK(desk.counters.lines_suppressed.value() == 15);
  CHECK(desk.ended(Reason::kRedirected) == 20);
}

TEST_CASE("lines of refused clients are limited, and those of served ones are not") {
  Desk desk;
  for (int i = 0; i < 20; ++i) {
    desk.reporter.refused(0, *SocketAddress::parse("198.51.100.9:1"), Reason::kBlockedIp, at(10));
    desk.reporter.ended(desk.connection(true), Reason::kCompleted, at(10));
  }
  const std::string text = desk.text();
  const auto count = [&text](std::string_view word) {
    std::size_t found = 0;
    for (auto i = text.find(word); i != text.npos; i = text.find(word, i + 1)) ++found;
    return found;
  };
  CHECK(count("connection refused") == 5);
  CHECK(count("connection closed") == 20);
  CHECK(desk.counters.lines_suppressed.value() == 15);
  CHECK(desk.ended(Reason::kBlockedIp) == 20);
}

TEST_CASE("every line of a client that a proxy names has the proxy, too") {
  for (const bool has_route : {false, true}) {
    for (const Reason reason : {Reason::kClientReset, Reason::kDialRefused}) {
      Desk desk;
      ConnectionFacts facts = desk.connection(has_route);
      facts.more().client = *SocketAddress::parse("203.0.113.5:40000");
      desk.reporter.ended(facts, reason, at(12));
      CHECK(desk.text().contains(" client=203.0.113.5:40000 via=198.51.100.9:50000 sni="));
    }
  }
}

TEST_CASE("a refused client's line says what was wrong with its header") {
  Desk desk;
  ConnectionFacts facts = desk.connection(false);
  facts.more().complaint = "wrong checksum";
  desk.reporter.ended(facts, Reason::kProxyHeader, at(12));
  CHECK(desk.text().contains(" error=\"wrong checksum\" reason=proxy_header "));
  CHECK_FALSE(desk.text().contains(" via="));
}

TEST_CASE("a redirected client is one that was served, without a backend") {
  Desk desk;
  ConnectionFacts facts = desk.connection(false);
  facts.way = Way::kRedirect;
  desk.reporter.routed(facts, at(11));
  desk.reporter.ended(facts, Reason::kRedirected, at(12));
  CHECK(desk.text().contains("msg=\"connection closed\""));
  CHECK(desk.text().contains(" backend=\"\" route=redirect "));
  CHECK(desk.ended(Reason::kRedirected) == 1);
}

TEST_CASE("the check of a proxy in front is no line at info") {
  for (const LogLevel level : {LogLevel::kInfo, LogLevel::kDebug}) {
    Desk desk(level);
    ConnectionFacts facts = desk.connection(false);
    facts.has_spoken = false;
    desk.reporter.ended(facts, Reason::kProxyLocal, at(12));
    CHECK(desk.text().contains("reason=proxy_local") == (level == LogLevel::kDebug));
    CHECK(desk.ended(Reason::kProxyLocal) == 1);
  }
}

}  // namespace mc::traffic
