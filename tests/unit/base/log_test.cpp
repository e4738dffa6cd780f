// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <memory>
#include <regex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "support/catch.hpp"

using mc::Fd;
using mc::Log;
using mc::LogFormat;
using mc::LogLevel;
using mc::LogPriorities;
using namespace std::chrono_literals;

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    read_end = Fd(ends[0]);
    write_end = Fd(ends[1]);
  }
  Fd read_end, write_end;
};

/// Everything from the descriptor until its other end closes. Also runs on other threads, where
/// Catch2 has no assertions.
std::string read_all(const Fd& fd) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t size = ::read(fd.get(), buffer, sizeof(buffer));
    if (size <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(size));
  }
}

/// The log of `use`, with the time of each line replaced by "T".
template <class Use>
std::string logged(Log::Options options, Use use) {
  Pipe pipe;
  options.fd = pipe.write_end.get();
  {
    Log log(options);
    use(log);
  }
  pipe.write_end.reset();
  static const std::regex kTime(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)");
  return std::regex_replace(read_all(pipe.read_end), kTime, "T");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

/// Fills a pipe to its last byte, so that the next write finds no room.
void stuff(const Fd& fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  REQUIRE(::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) == 0);
  const std::string page(4096, '\n');
  while (::write(fd.get(), page.data(), page.size()) > 0) {
  }
  while (::write(fd.get(), "\n", 1) > 0) {
  }
  REQUIRE(::fcntl(fd.get(), F_SETFL, flags) == 0);
}

}  // namespace

TEST_CASE("A line in text reads as slog's") {
  const std::string text = logged({}, [](Log& log) {
    log.info("session closed", {{"listener", ":443"},
                                {"sni", std::string("app.example.com")},
                                {"sent", 123U},
                                {"delta", -5},
                                {"reused", true},
                                {"ratio", 0.25},
                                {"duration", 1500ms},
                                {"uptime", std::chrono::hours(1)}});
  });
  CHECK(text ==
        "time=T level=INFO msg=\"session closed\" listener=:443 sni=app.example.com sent=123 "
        "delta=-5 "
        "reused=true ratio=0.25 duration=1.5s uptime=1h0m0s\n");
}

TEST_CASE("The line that operators grep for is written as the original wrote it") {
  const std::string text =
      logged({}, [](Log& log) { log.info("received SIGHUP, reloading GeoIP database"); });
  CHECK(text.contains("level=INFO msg=\"received SIGHUP, reloading GeoIP database\"\n"));
}

TEST_CASE("A line in JSON is one object") {
  const std::string text = logged({.format = LogFormat::kJson}, [](Log& log) {
    log.warn("dial \"failed\"", {{"sni", "a\xff\n"},
                                 {"sent", std::numeric_limits<std::uint64_t>::max()},
                                 {"delta", std::numeric_limits<std::int64_t>::min()},
                                 {"reused", false},
                                 {"ratio", 0.25},
                                 {"nan", std::numeric_limits<double>::quiet_NaN()},
                                 {"duration", 1500ms},
                                 {"longest", std::chrono::milliseconds::max()},
                                 {"none", 0ms}});
  });
  CHECK(text ==
        R"({"time":"T","level":"WARN","msg":"dial \"failed\"","sni":"a\ufffd\u000a",)"
        R"("sent":18446744073709551615,"delta":-9223372036854775808,"reused":false,"ratio":0.25,)"
        R"("nan":"nan","duration":1500000000,"longest":9223372036854775807000000,"none":0})"
        "\n");
}

TEST_CASE("Hostile text cannot forge a line or a field") {
  const std::string text = logged({}, [](Log& log) {
    log.info("refused\nlevel=ERROR", {{"sni", "x level=ERROR\ntime=now"}, {"a\nkey", "v"}});
  });
  CHECK(text ==
        R"(time=T level=INFO msg="refused\nlevel=ERROR" sni="x level=ERROR\ntime=now" "a\nkey"=v)"
        "\n");
}

TEST_CASE("An overlong value is cut") {
  const std::string value(mc::kLogValueBytesMax + 1, 'v');
  const std::string text = logged({}, [&](Log& log) { log.info("m", {{"k", value}}); });
  CHECK(text == "time=T level=INFO msg=m k=" + value.substr(1) + "...\n");
}

TEST_CASE("Levels below the threshold are not written, and the threshold can change") {
  const std::string text = logged({.level = LogLevel::kWarn}, [](Log& log) {
    CHECK_FALSE(log.enabled(LogLevel::kInfo));
    log.debug("1");
    log.info("2");
    log.warn("3");
    log.error("4");
    log.set_level(LogLevel::kDebug);
    CHECK(log.enabled(LogLevel::kDebug));
    log.debug("5");
  });
  CHECK(text == "time=T level=WARN msg=3\ntime=T level=ERROR msg=4\ntime=T level=DEBUG msg=5\n");
}

TEST_CASE("Lines for the journal begin with their syslog priority") {
  const auto all = [](Log& log) {
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
  };
  const Log::Options options{.level = LogLevel::kDebug, .priorities = LogPriorities::kAlways};
  CHECK(logged(options, all) ==
        "<7>time=T level=DEBUG msg=d\n<6>time=T level=INFO msg=i\n"
        "<4>time=T level=WARN msg=w\n<3>time=T level=ERROR msg=e\n");
}

TEST_CASE("The journal is recognised by the device and inode that systemd announces") {
  Pipe pipe;
  struct stat status{};
  REQUIRE(::fstat(pipe.write_end.get(), &status) == 0);
  const std::string own = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  const auto [announced, start] =
      GENERATE_COPY(std::pair<std::string, std::string>{own, "<6>time="},
                    std::pair<std::string, std::string>{own + "0", "time="},
                    std::pair<std::string, std::string>{own + ":1", "time="},
                    std::pair<std::string, std::string>{std::to_string(status.st_dev), "time="},
                    std::pair<std::string, std::string>{"", "time="});
  REQUIRE(::setenv("JOURNAL_STREAM", announced.c_str(), 1) == 0);
  Log({.fd = pipe.write_end.get()}).info("hello");
  REQUIRE(::unsetenv("JOURNAL_STREAM") == 0);
  pipe.write_end.reset();
  CHECK(read_all(pipe.read_end).starts_with(start));
}

TEST_CASE("Lines of many threads arrive whole, and flush waits for them") {
  constexpr int kThreads = 4;
  constexpr int kLinesEach = 500;
  Pipe pipe;
  Log log({.fd = pipe.write_end.get()});
  std::string text;
  std::thread reader([&] { text = read_all(pipe.read_end); });
  {
    std::vector<std::jthread> writers;
    for (int t = 0; t < kThreads; ++t) {
      writers.emplace_back([&log, t] {
        for (int i = 0; i < kLinesEach; ++i) log.info("line", {{"thread", t}, {"i", i}});
      });
    }
  }
  log.flush();
  pipe.write_end.reset();
  reader.join();
  const auto lines = lines_of(text);
  CHECK(lines.size() == kThreads * kLinesEach);
  CHECK(std::ranges::all_of(lines, [](const std::string& line) {
    return line.starts_with("time=") && line.contains(" msg=line thread=");
  }));
  CHECK(log.dropped() == 0);
}

TEST_CASE("A stuck stderr blocks nobody, and the log says how many lines were lost") {
  constexpr std::uint64_t kLines = mc::kLogQueueLinesMax + 1000;
  Pipe pipe;
  stuff(pipe.write_end);
  auto log = std::make_unique<Log>(Log::Options{.fd = pipe.write_end.get()});
  for (std::uint64_t i = 0; i < kLines; ++i) log->info("line", {{"i", i}});
  const std::uint64_t dropped = log->dropped();
  // The queue is kept, and the writer may hold one more line.
  CHECK(dropped >= kLines - mc::kLogQueueLinesMax - 1);
  CHECK(dropped <= kLines - mc::kLogQueueLinesMax);

  std::string text;
  std::thread reader([&] { text = read_all(pipe.read_end); });
  log.reset();
  pipe.write_end.reset();
  reader.join();
  auto lines = lines_of(text);
  std::erase(lines, "");
  const auto report = std::ranges::find_if(
      lines, [](const std::string& line) { return line.contains(" level=WARN msg=\"log lines"); });
  REQUIRE(report != lines.end());
  CHECK(report->ends_with(" dropped=" + std::to_string(dropped)));
  CHECK(lines.size() - 1 == kLines - dropped);
  CHECK(std::ranges::count_if(lines, [](const std::string& line) {
          return line.ends_with(" i=" + std::to_string(kLines - 1));
        }) == 1);
}

TEST_CASE("A stderr that is never read delays the end of the process, but does not prevent it") {
  Pipe pipe;
  stuff(pipe.write_end);
  const auto start = std::chrono::steady_clock::now();
  {
    Log log({.fd = pipe.write_end.get()});
    for (std::size_t i = 0; i < 2 * mc::kLogQueueLinesMax; ++i) log.info("line");
  }
  CHECK(std::chrono::steady_clock::now() - start < mc::kLogFlushWaitMax + 10s);
}

TEST_CASE("A stderr whose reader has gone loses lines and nothing else") {
  SECTION("a pipe") {
    Pipe pipe;
    pipe.read_end.reset();
    Log log({.fd = pipe.write_end.get()});
    log.info("one");
    log.info("two");
    log.flush();
    CHECK(log.dropped() == 2);
  }
  SECTION("a socket, as the journal's is") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    Fd ours(ends[0]);
    Fd(ends[1]).reset();
    Log log({.fd = ours.get()});
    log.info("one");
    log.flush();
    CHECK(log.dropped() == 1);
  }
  SECTION("a closed descriptor") {
    Pipe pipe;
    Log log({.fd = pipe.write_end.get()});
    pipe.write_end.reset();
    log.info("one");
    log.flush();
    CHECK(log.dropped() == 1);
  }
}

TEST_CASE("A log to a socket writes whole lines") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Fd ours(ends[0]), theirs(ends[1]);
  const std::string value(mc::kLogValueBytesMax, 'v');
  std::string text;
  std::thread reader([&] { text = read_all(theirs); });
  {
    Log log({.fd = ours.get()});
    for (int i = 0; i < 300; ++i) log.info("m", {{"a", value}, {"b", value}, {"c", value}});
    log.flush();
    CHECK(log.dropped() == 0);
  }
  ours.reset();
  reader.join();
  const auto lines = lines_of(text);
  CHECK(lines.size() == 300);
  CHECK(std::ranges::all_of(lines, [&](const auto& line) { return line.ends_with("c=" + value); }));
}
