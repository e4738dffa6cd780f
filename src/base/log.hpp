// SPDX-License-Identifier: Apache-2.0
#pragma once
// The process's log: one line per event, as Go's slog writes them (logfmt or JSON), to stderr. The
// logging thread formats a line, and a thread of the Log writes it, with a bounded queue between:
// logging never waits for a slow reader of stderr. When the queue is full, the oldest lines are
// dropped and counted, and the log reports the count. There is no global log: main() owns one and
// passes it by reference. Any thread may log.

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <variant>

namespace mc {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError };
enum class LogFormat : std::uint8_t { kText, kJson };

/// "debug", "info", "warn" or "error", as the configuration writes them.
std::string_view to_string(LogLevel level);

/// Whether lines begin with a syslog priority ("<6>", sd-daemon(3)), by which `journalctl -p err`
/// filters.
enum class LogPriorities : std::uint8_t { kWhenJournal, kAlways, kNever };

/// Lines that may wait for the writer: 3 MB of short lines, and 0.8 s of the log of a proxy that
/// ends 10,000 sessions a second.
inline constexpr std::size_t kLogQueueLinesMax = 8192;

/// The longest value in a line. A longer one is cut and ends in "...": the queue is bounded in
/// lines, and with this in bytes.
inline constexpr std::size_t kLogValueBytesMax = 4096;

/// How long flush(), and with it the end of the process, waits for a stderr that nobody reads.
inline constexpr std::chrono::milliseconds kLogFlushWaitMax{2000};

/// A key and a value of a log line. Borrows its texts: made where the line is logged, destroyed
/// with it.
class LogField {
 public:
  /// A field with this key is left out.
  static constexpr std::string_view kUnwritten{};

  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool,
                             std::chrono::milliseconds>;

  constexpr LogField(std::string_view key, std::string_view value) : key_(key), value_(value) {}
  constexpr LogField(std::string_view key, std::integral auto value)
      : key_(key), value_(widest(value)) {}
  constexpr LogField(std::string_view key, double value) : key_(key), value_(value) {}
  /// Written "1.5s" in text, in nanoseconds in JSON, as slog does.
  constexpr LogField(std::string_view key, std::chrono::milliseconds value)
      : key_(key), value_(value) {}

  [[nodiscard]] constexpr std::string_view key() const { return key_; }
  [[nodiscard]] constexpr const Value& value() const { return value_; }

 private:
  static constexpr Value widest(std::integral auto value) {
    if constexpr (std::same_as<decltype(value), bool>) {
      return value;
    } else if constexpr (std::signed_integral<decltype(value)>) {
      return std::int64_t{value};
    } else {
      return std::uint64_t{value};
    }
  }

  std::string_view key_;
  Value value_;
};

/// Writes log lines to a descriptor that it does not own. A descriptor that is broken, closed or
/// stuck only loses lines: it neither blocks a caller nor ends the process.
class Log {
 public:
  struct Options {
    LogLevel level = LogLevel::kInfo;
    LogFormat format = LogFormat::kText;
    LogPriorities priorities = LogPriorities::kWhenJournal;
    int fd = 2;
  };

  /// Starts the writer's thread; without threads the process ends here, with a message.
  explicit Log(Options options);
  /// Flushes, drops what a stuck descriptor did not take by then, and joins the writer.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Whether a line of this level is written; check it before making costly fields.
  [[nodiscard]] bool enabled(LogLevel level) const {
    return level >= level_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] LogLevel level() const { return level_.load(std::memory_order_relaxed); }
  void set_level(LogLevel level) { level_.store(level, std::memory_order_relaxed); }

  using Fields = std::initializer_list<LogField>;
  void debug(std::string_view message, Fields fields = {}) {
    log(LogLevel::kDebug, message, fields);
  }
  void info(std::string_view message, Fields fields = {}) { log(LogLevel::kInfo, message, fields); }
  void warn(std::string_view message, Fields fields = {}) { log(LogLevel::kWarn, message, fields); }
  void error(std::string_view message, Fields fields = {}) {
    log(LogLevel::kError, message, fields);
  }

  /// Waits until every line logged before is written or lost, but no longer than kLogFlushWaitMax.
  void flush();

  /// Lines lost so far: to the full queue, or to a descriptor that took no bytes.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  class Writer;

  void log(LogLevel level, std::string_view message, Fields fields) {
    if (enabled(level)) write(level, message, fields);
  }
  void write(LogLevel level, std::string_view message, Fields fields);

  std::atomic<LogLevel> level_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace mc
