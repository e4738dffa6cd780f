// SPDX-License-Identifier: Apache-2.0
#include "traffic/line_limiter.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "traffic/limits.hpp"

namespace mc::traffic {

namespace {

// Whose line has this reason, where it is limited.
Outcome outcome_of_limited(Reason reason) {
  if (reason == Reason::kRedirected) return Outcome::kClosed;
  return info(reason).outcome == Outcome::kDialFailed ? Outcome::kDialFailed : Outcome::kRefused;
}

}  // namespace

std::uint32_t line_share(std::size_t workers) {
  return std::max(kLinesPerSecond / static_cast<std::uint32_t>(workers), kLinesPerSecondOfWorker);
}

LineLimiter::LineLimiter(ring::TimerWheel& timers, const std::vector<std::string>& listener_names,
                         std::uint32_t lines_max, Counter& suppressed, Log& log)
    : timers_(timers),
      listener_names_(listener_names),
      lines_max_(lines_max),
      suppressed_(suppressed),
      log_(log),
      kinds_(listener_names.size() * kReasons) {}

bool LineLimiter::admits(std::size_t listener, Reason reason, Instant now) {
  Kind& kind = kinds_[listener * kReasons + static_cast<std::size_t>(reason)];
  if (now - kind.began >= kLinesWindow) {
    kind.began = now;
    kind.lines = 0;
  }
  if (kind.lines < lines_max_) {
    ++kind.lines;
    return true;
  }
  ++kind.suppressed;
  suppressed_.add();
  if (!armed()) timers_.arm(*this, now + kLinesWindow);
  return false;
}

void LineLimiter::report() {
  for (std::size_t i = 0; i < kinds_.size(); ++i) {
    const std::uint64_t suppressed = std::exchange(kinds_[i].suppressed, 0);
    if (suppressed == 0) continue;
    const auto reason = static_cast<Reason>(i % kReasons);
    const Outcome outcome = outcome_of_limited(reason);
    const Log::Fields fields{{"line", line_of(outcome)},
                             {"listener", listener_names_[i / kReasons]},
                             {"reason", to_string(reason)},
                             {"suppressed", suppressed}};
    constexpr std::string_view kMessage = "too many similar lines; some were not logged";
    outcome == Outcome::kDialFailed ? log_.warn(kMessage, fields) : log_.info(kMessage, fields);
  }
}

}  // namespace mc::traffic
