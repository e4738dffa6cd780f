// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cmath>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <mutex>
#include <string>
#include <utility>

#include "base/duration.hpp"
#include "base/quote.hpp"

namespace mc {
namespace {

using Clock = std::chrono::system_clock;

/// How often a line that cannot be written checks whether the log has given up on it.
constexpr std::chrono::milliseconds kStuckPoll{100};

/// In a storm the count of lost lines is logged this often, not with each line.
constexpr std::chrono::seconds kDropReportInterval{1};

enum class Priorities : std::uint8_t { kNone, kSyslog };

/// What every line of a log has in common.
struct LineStyle {
  LogFormat format;
  Priorities priorities;
};

struct LevelName {
  std::string_view text;
  std::string_view priority;  // the numbers of syslog(3), as sd-daemon(3) has them
};

constexpr LevelName name_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return {"DEBUG", "<7>"};
    case LogLevel::kInfo:
      return {"INFO", "<6>"};
    case LogLevel::kWarn:
      return {"WARN", "<4>"};
    case LogLevel::kError:
      return {"ERROR", "<3>"};
  }
  return {"ERROR", "<3>"};
}

/// 2026-11-22T12:00:00.000Z: RFC 3339, always UTC.
void append_time(std::string& out, Clock::time_point time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::milliseconds>(time - day));
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                 static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                 static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(),
                 clock.seconds().count(), clock.subseconds().count());
}

/// Writes any text, with `append` for its quoting, and cuts it to size.
template <class Append>
void append_bounded(std::string& out, std::string_view text, Append append) {
  if (text.size() <= kLogValueBytesMax) return append(out, text);
  append(out, std::string(utf8_prefix(text, kLogValueBytesMax)) + "...");
}

struct TextValue {
  std::string& out;
  void operator()(std::string_view text) const { append_bounded(out, text, append_log_value); }
  void operator()(std::chrono::milliseconds duration) const { out += format_duration(duration); }
  void operator()(auto scalar) const { fmt::format_to(std::back_inserter(out), "{}", scalar); }
};

struct JsonValue {
  std::string& out;
  void operator()(std::string_view text) const { append_bounded(out, text, append_json_string); }
  void operator()(std::chrono::milliseconds duration) const {
    // Six more zeros make nanoseconds, without the overflow that a conversion could have.
    fmt::format_to(std::back_inserter(out), "{}{}", duration.count(),
                   duration.count() == 0 ? "" : "000000");
  }
  void operator()(double number) const {
    // JSON has no infinities and no NaN.
    const auto to = std::back_inserter(out);
    std::isfinite(number) ? fmt::format_to(to, "{}", number) : fmt::format_to(to, "\"{}\"", number);
  }
  void operator()(auto scalar) const { fmt::format_to(std::back_inserter(out), "{}", scalar); }
};

void append_text_line(std::string& out, LogLevel level, Clock::time_point time,
                      std::string_view message, Log::Fields fields) {
  out += "time=";
  append_time(out, time);
  out += " level=";
  out += name_of(level).text;
  out += " msg=";
  TextValue{out}(message);
  for (const LogField& field : fields) {
    if (field.key() == LogField::kUnwritten) continue;
    out += ' ';
    append_log_value(out, field.key());
    out += '=';
    std::visit(TextValue{out}, field.value());
  }
}

void append_json_line(std::string& out, LogLevel level, Clock::time_point time,
                      std::string_view message, Log::Fields fields) {
  out += R"({"time":")";
  append_time(out, time);
  out += R"(","level":")";
  out += name_of(level).text;
  out += R"(","msg":)";
  JsonValue{out}(message);
  for (const LogField& field : fields) {
    if (field.key() == LogField::kUnwritten) continue;
    out += ',';
    append_json_string(out, field.key());
    out += ':';
    std::visit(JsonValue{out}, field.value());
  }
  out += '}';
}

std::string make_line(LineStyle style, LogLevel level, std::string_view message,
                      Log::Fields fields) {
  constexpr std::size_t kUsualLineBytes = 384;
  std::string line;
  line.reserve(kUsualLineBytes);
  if (style.priorities == Priorities::kSyslog) line += name_of(level).priority;
  const auto append = style.format == LogFormat::kJson ? append_json_line : append_text_line;
  append(line, level, Clock::now(), message, fields);
  line += '\n';
  return line;
}

/// Whether the descriptor is the journal's: systemd names its device and inode (systemd.exec(5)).
bool is_journal(int fd) {
  const char* variable = std::getenv("JOURNAL_STREAM");
  if (variable == nullptr) return false;
  const std::string_view text = variable;
  std::uint64_t device = 0, inode = 0;
  const auto [colon, error] = std::from_chars(text.begin(), text.end(), device);
  if (error != std::errc() || colon == text.end() || *colon != ':') return false;
  const auto [end, inode_error] = std::from_chars(colon + 1, text.end(), inode);
  if (inode_error != std::errc() || end != text.end()) return false;
  struct stat status{};
  return fstat(fd, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

Priorities decide(LogPriorities wanted, int fd) {
  switch (wanted) {
    case LogPriorities::kAlways:
      return Priorities::kSyslog;
    case LogPriorities::kNever:
      return Priorities::kNone;
    case LogPriorities::kWhenJournal:
      break;
  }
  return is_journal(fd) ? Priorities::kSyslog : Priorities::kNone;
}

/// The descriptor that lines go to. Belongs to the writer's thread, except give_up().
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {
    struct stat status{};
    is_socket_ = fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
  }

  /// Writes the whole line, waiting for the reader if necessary. False if any part was not written.
  bool write(std::string_view line) {
    // After a line that was cut off the next one starts on a line of its own.
    if (is_torn_ && !write_bytes("\n")) return false;
    is_torn_ = false;
    return write_bytes(line);
  }

  /// From now on a line that cannot be written at once is lost. Any thread.
  void give_up() { given_up_.store(true, std::memory_order_relaxed); }

 private:
  bool write_bytes(std::string_view bytes) {
    while (!bytes.empty()) {
      if (!wait_until_writable()) return false;
      // A pipe that polls as writable takes PIPE_BUF bytes without blocking; a socket gets
      // MSG_DONTWAIT. So give_up() always takes effect, whatever the reader does. (O_NONBLOCK does
      // not serve: it would apply to everyone who shares the descriptor, such as the operator's
      // shell.)
      const std::string_view piece = bytes.substr(0, PIPE_BUF);
      const ssize_t written =
          is_socket_ ? ::send(fd_, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                     : ::write(fd_, piece.data(), piece.size());
      if (written < 0) {
        if (errno == EINTR || errno == EAGAIN) continue;
        return false;
      }
      bytes.remove_prefix(static_cast<std::size_t>(written));
      is_torn_ = !bytes.empty();
    }
    return true;
  }

  bool wait_until_writable() const {
    pollfd waiting{.fd = fd_, .events = POLLOUT, .revents = 0};
    while (true) {
      const bool is_last = given_up_.load(std::memory_order_relaxed);
      const int ready = ::poll(&waiting, 1, is_last ? 0 : static_cast<int>(kStuckPoll.count()));
      // A broken descriptor counts as ready: the write returns what is wrong with it.
      if (ready > 0) return true;
      if (is_last || (ready < 0 && errno != EINTR)) return false;
    }
  }

  const int fd_;
  bool is_socket_ = false;
  bool is_torn_ = false;
  std::atomic<bool> given_up_ = false;
};

/// Blocks every signal in the threads that are started while it lives: signals belong to main(),
/// and a SIGPIPE from a broken stderr to no thread.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

using Pool = spdlog::details::thread_pool;

std::shared_ptr<Pool> start_pool() {
  const SignalsBlocked blocked;
  try {
    return std::make_shared<Pool>(kLogQueueLinesMax, 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr,
                 "mc-proxy: cannot start the log's thread: %s; raise the limit on tasks "
                 "(TasksMax= of the unit, ulimit -u)\n",
                 error.what());
    std::abort();
  }
}

}  // namespace

/// The queue, its thread, and what that thread does with a line. Does not use spdlog's levels,
/// patterns and registry: it gets finished lines.
class Log::Writer final : public spdlog::sinks::sink {
 public:
  explicit Writer(const Options& options)
      : style_{options.format, decide(options.priorities, options.fd)},
        output_(options.fd),
        pool_(start_pool()),
        // An alias without ownership: the pool, and with it every user of the sink, is destroyed
        // before the sink.
        logger_(std::make_shared<spdlog::async_logger>(
            "mc-proxy", spdlog::sink_ptr(std::shared_ptr<void>(), this), pool_,
            spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_level(spdlog::level::trace);
    logger_->set_error_handler([](const std::string&) {});
  }

  ~Writer() override {
    flush_lines();
    output_.give_up();
    pool_.reset();  // joins the thread, which may hold the logger until then
    logger_.reset();
  }

  void enqueue(LogLevel level, std::string_view message, Fields fields) {
    enqueued_.fetch_add(1, std::memory_order_relaxed);
    try {
      const std::string line = make_line(style_, level, message, fields);
      logger_->log(Clock::time_point(), spdlog::source_loc(), spdlog::level::info,
                   spdlog::string_view_t(line.data(), line.size()));
    } catch (const std::exception&) {
      // No memory for a line: the line is lost, like those that find the queue full.
      enqueued_.fetch_sub(1, std::memory_order_relaxed);
      unwritten_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  void flush_lines() {
    const std::uint64_t target = enqueued_.load(std::memory_order_relaxed);
    std::unique_lock lock(mutex_);
    progress_.wait_for(lock, kLogFlushWaitMax, [&] { return settled_ >= target; });
  }

  std::uint64_t lost() const {
    return queue_.overrun_counter() + unwritten_.load(std::memory_order_relaxed);
  }

  // The rest runs on spdlog's thread.
  void log(const spdlog::details::log_msg& line) override {
    if (!output_.write(std::string_view(line.payload.data(), line.payload.size()))) {
      unwritten_.fetch_add(1, std::memory_order_relaxed);
    } else {
      report_lost();
    }
    ++handled_;
    const std::lock_guard lock(mutex_);
    settled_ = handled_ + queue_.overrun_counter();
    progress_.notify_all();
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  /// Logs how many lines were lost since the last report: when the queue has drained, or at
  /// intervals in a long storm.
  void report_lost() {
    const std::uint64_t total = lost();
    if (total == reported_) return;
    const auto now = std::chrono::steady_clock::now();
    if (queue_.queue_size() > 0 && now - reported_at_ < kDropReportInterval) return;
    const std::string line =
        make_line(style_, LogLevel::kWarn, "log lines were lost, stderr did not take them in time",
                  {{"dropped", total - reported_}});
    if (!output_.write(line)) return;
    reported_ = total;
    reported_at_ = now;
  }

  const LineStyle style_;
  Output output_;
  std::atomic<std::uint64_t> enqueued_ = 0;
  std::atomic<std::uint64_t> unwritten_ = 0;
  std::uint64_t handled_ = 0;   // taken from the queue, and written if that was possible
  std::uint64_t reported_ = 0;  // of those lost
  std::chrono::steady_clock::time_point reported_at_;

  std::mutex mutex_;
  std::condition_variable progress_;
  // Under mutex_: how many lines have left the queue for good. Lines leave it in order, so the
  // first `settled_` ones are written or lost. Counted when the thread holds none.
  std::uint64_t settled_ = 0;

  std::shared_ptr<Pool> pool_;
  // The same pool, for the thread: ~Writer empties pool_ first and then joins the thread, which
  // still uses this.
  Pool& queue_ = *pool_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      break;
  }
  return "error";
}

Log::Log(Options options) : level_(options.level), writer_(std::make_unique<Writer>(options)) {}

Log::~Log() = default;

void Log::write(LogLevel level, std::string_view message, Fields fields) {
  writer_->enqueue(level, message, fields);
}

void Log::flush() { writer_->flush_lines(); }

std::uint64_t Log::dropped() const { return writer_->lost(); }

}  // namespace mc
