// SPDX-License-Identifier: Apache-2.0
#pragma once
// One check: connects to a target, sends the PROXY header that its pool sends, and asks it for TLS
// if it is to have TLS. Touches no health and no schedule. Its ring's thread only.

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.hpp"
#include "health/plan.hpp"
#include "net/connect_address.hpp"
#include "ring/interruptible.hpp"
#include "ring/loop.hpp"
#include "ring/task.hpp"
#include "ring/timer_wheel.hpp"
#include "tls/server_reply.hpp"

namespace mc::health {

enum class Verdict : std::uint8_t {
  kPassed,
  kAnswered,  // passed: it replied with an alert, so it lives, but it refuses this hello
  kFailed,
  kNone,  // this process could not check: it lacked a port, descriptors, memory or time
};

/// What a check has found, and in which words operators read that.
struct Outcome {
  Verdict verdict = Verdict::kNone;
  std::string why;
};

/// "no reply within 2s".
[[nodiscard]] std::string no_reply_within(std::chrono::milliseconds timeout);

class Probe final : private ring::Timer {
 public:
  /// `target` must outlive it. `timeout` covers the connect and the reply together.
  Probe(ring::Loop& loop, const Target& target, std::chrono::milliseconds timeout)
      : loop_(loop), target_(target), timeout_(timeout) {}

  /// Checks, once. The socket is closed by RST: neither side keeps it in TIME_WAIT.
  ring::Task<Outcome> run();
  /// Makes run() return soon, with kNone unless it has a result.
  void stop() { end(End::kStopped); }

 private:
  enum class End : std::uint8_t { kNotYet, kDeadline, kStalled, kStopped };

  ring::Task<Outcome> connect();
  ring::Task<Outcome> ask();
  int send_opening();
  [[nodiscard]] std::string proxy_header() const;
  [[nodiscard]] bool has_met_itself() const;
  [[nodiscard]] Outcome outcome_of(int error) const;
  [[nodiscard]] static Outcome judge(const tls::ServerReply& reply);

  void expired() override;
  void end(End how) {
    if (end_ == End::kNotYet) end_ = how;
    if (waiting_for_ != nullptr) waiting_for_->interrupt();
  }

  // As `co_await operation`, but the end of the check ends it early, or does not let it begin.
  template <class Operation>
  auto unless_over(Operation& operation) {
    struct Awaiter {
      Probe& probe;
      Operation& operation;

      bool await_ready() const { return probe.end_ != End::kNotYet; }
      void await_suspend(std::coroutine_handle<> coroutine) {
        probe.waiting_for_ = &operation;
        operation.await_suspend(coroutine);
      }
      int await_resume() {
        probe.waiting_for_ = nullptr;
        return operation.await_resume();
      }
    };
    return Awaiter{*this, operation};
  }

  ring::Loop& loop_;
  const Target& target_;
  std::chrono::milliseconds timeout_;
  Instant deadline_;
  std::optional<ConnectAddress> address_;
  Fd socket_;
  ring::Interruptible* waiting_for_ = nullptr;
  End end_ = End::kNotYet;
};

}  // namespace mc::health
