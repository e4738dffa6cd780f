// SPDX-License-Identifier: Apache-2.0
#pragma once
// One client's connection, from accept to its line in the log. serve() is the story; a Session
// holds what its stages share. Lives in the frame of serve(), on its worker's thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/backend_address.hpp"
#include "base/fd.hpp"
#include "base/socket_address.hpp"
#include "policy/route_table.hpp"
#include "proxy/reason.hpp"
#include "proxy/relay.hpp"
#include "proxy/worker_context.hpp"
#include "ring/interruptible.hpp"
#include "ring/task.hpp"
#include "ring/timer_wheel.hpp"

namespace mc::proxy {

/// Serves one accepted and admitted client to its end: peek, decide, dial, relay, report.
ring::Detached serve(WorkerContext& context, std::size_t listener, Fd client, SocketAddress peer);

class Session final : private ring::Timer {
 public:
  Session(WorkerContext& context, std::size_t listener, Fd client, const SocketAddress& peer);
  ~Session();

  // The stages. Each answers Reason::kNone when the session goes on.

  /// Waits for the whole ClientHello without consuming a byte of it, and decides by it.
  ring::Task<Reason> read_hello();
  /// Connects to the backend that was decided on.
  ring::Task<Reason> dial();
  /// Moves bytes until both sides have ended or one has failed; never answers kNone.
  ring::Task<Reason> relay();
  /// Closes both sockets, in order or by reset.
  void close(Reason reason);
  /// The session's one line in the log, its counters, and its last event.
  void report(Reason reason);
  [[nodiscard]] LogLevel level_of(Reason reason) const;

  /// Makes the session end soon, with this reason, whatever it is waiting for. The first reason
  /// counts, but a deadline's gives way to an order: it may yet turn out to have been met.
  void interrupt(Reason reason);

  /// Whether it was told to end, or ends by itself: an order to end it would come too late.
  [[nodiscard]] bool is_ending() const {
    return stop_reason_ != Reason::kNone && stop_reason_ != deadline_reason_;
  }

  // What a filter goes by, and what operators are shown.

  [[nodiscard]] ConnectionId id() const { return {context_.last_id.worker, number_}; }
  [[nodiscard]] std::size_t listener() const { return listener_; }
  [[nodiscard]] IpAddress client_ip() const { return peer_.ip(); }
  /// The name that the client asks for; empty before its hello.
  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] std::optional<BackendAddress> backend() const;
  [[nodiscard]] Connection describe() const;

 private:
  friend class SessionList<Session>;

  // What the bytes of the hello say: how many are needed (SO_RCVLOWAT), or how the stage ends.
  using Judgement = std::variant<tls::Incomplete, Reason>;
  Judgement judge(std::span<const std::uint8_t> bytes);
  void log_refused_name() const;
  Reason decide(const tls::ClientHello& hello);
  void take_route(const policy::RouteMatch& match);
  [[nodiscard]] Reason why_stalled() const;
  Reason open_backend();
  [[nodiscard]] int led_back() const;
  void dialled(std::chrono::milliseconds duration);
  [[nodiscard]] Reason dial_result(int result);
  void watch_for_silence();
  void take_progress(std::uint64_t up, std::uint64_t down);
  [[nodiscard]] Reason relay_result(const RelaySide& client, const RelaySide& backend,
                                    const RelayDirection& up, const RelayDirection& down) const;

  /// Why the session was interrupted, if it was.
  [[nodiscard]] Reason stopped_or(Reason otherwise) const;
  void set_deadline(std::chrono::milliseconds from_now, Reason reason);
  /// Ends the stage's deadline. What the stage awaited has come; if the deadline passed in the same
  /// turn, it lost.
  void clear_deadline();
  void expired() override;
  bool has_been_idle();
  void look_again_soon();
  [[nodiscard]] bool routed() const { return usage_ != nullptr; }
  [[nodiscard]] std::string route_pattern() const;
  [[nodiscard]] ListenerCounters& counters() const;
  void count(Reason reason);
  void tell_begin();
  void tell_end(Reason reason);

  /// `co_await interruptible(operation)`: as `co_await operation`, and interrupt() reaches it.
  template <class Operation>
  auto interruptible(Operation& operation);

  WorkerContext& context_;
  ring::Interruptible* waiting_for_ = nullptr;
  std::string name_;                           // SNI, normalised
  std::shared_ptr<policy::RouteUsage> usage_;  // of the route, which may go before the session does
  std::uint64_t bytes_up_ = 0;
  std::uint64_t bytes_down_ = 0;
  std::uint64_t number_;  // of the worker's sessions
  Instant started_;
  Instant active_;  // when a byte was moved last
  Fd client_;
  Fd backend_;
  SocketAddress peer_;
  SocketAddress backend_address_;
  std::unique_ptr<const BackendAddress> unresolved_;  // where its interface is not there
  std::uint32_t listener_;
  std::uint32_t place_ = 0;     // in context_.sessions
  std::uint32_t queued_ = 0;    // in both send queues, in the middle of the idle time
  int dial_error_ = 0;          // see dial_error_text()
  std::uint8_t suffix_at_ = 0;  // of a wildcard route: where in name_ its suffix begins
  policy::MatchKind route_kind_{};
  SessionStage stage_ = SessionStage::kHello;
  bool ech_offered_ = false;
  bool spoken_ = false;        // the client has sent a byte
  bool look_planned_ = false;  // the timer fires for a second look (kUrgentRecheck) too
  bool look_due_ = false;
  Reason deadline_reason_ = Reason::kNone;
  Reason stop_reason_ = Reason::kNone;
};

}  // namespace mc::proxy
