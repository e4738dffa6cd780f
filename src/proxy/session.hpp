// SPDX-License-Identifier: Apache-2.0
#pragma once
// One client's TCP connection, from accept to its line in the log. serve() is the story; a Session
// holds what its stages share. Lives in the frame of serve(), on its worker's thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/fd.hpp"
#include "net/socket_address.hpp"
#include "policy/route_table.hpp"
#include "proxy/live_connection.hpp"
#include "proxy/peek_until.hpp"
#include "proxy/worker_context.hpp"
#include "ring/task.hpp"
#include "tls/client_hello.hpp"

namespace mc::proxy {

/// Serves one accepted and admitted client to its end: preface, hello, dial, relay, lingering
/// close, report.
ring::Detached serve(WorkerContext& context, std::size_t listener, Fd client, SocketAddress peer);

class Session final : public LiveConnection {
 public:
  Session(WorkerContext& context, std::size_t listener, Fd client, const SocketAddress& peer);
  ~Session();

  // The stages. Each returns Reason::kNone when the session goes on.

  /// Whether anything may come before the hello.
  [[nodiscard]] bool has_preface() const;
  /// Reads it: see preface.hpp.
  ring::Task<Reason> read_preface();
  /// Where the connection goes is decided.
  [[nodiscard]] bool has_way() const { return facts_.has_way(); }
  /// Waits for the whole ClientHello without consuming a byte of it, and decides by it. Of a
  /// listener that redirects: for the request (redirect.hpp).
  ring::Task<Reason> read_hello();
  /// Connects to a backend of the route.
  ring::Task<Reason> dial();
  /// Moves bytes until both sides have ended or one has failed; never returns kNone.
  ring::Task<Reason> relay();
  /// Whether an alert is sent to the client, which says why it is refused.
  [[nodiscard]] bool owes_alert(Reason reason) const;
  /// Sends it, and closes the client's socket in order. Returns `reason`.
  ring::Task<Reason> send_alert(Reason reason);
  /// Closes the sockets that are open, in order or by reset, and reports how the connection ended.
  void end(Reason reason);

 private:
  [[nodiscard]] const policy::ListenerSettings& settings() const {
    return context_.settings.listeners[facts_.listener];
  }
  SessionParts parts() { return {context_, facts_, interruption_, client_}; }

  // What the hello's bytes mean.
  Judgement judge(std::span<const std::uint8_t> bytes);
  Reason judge(tls::Reject reject);
  Reason decide(const tls::ClientHello& hello);
  Reason take_way(traffic::Way way, const std::string& pool, Reason refusal);
  [[nodiscard]] bool is_end_of_check(Reason reason) const;

  WorkerContext& context_;
  Fd client_;
  Fd backend_;
};

}  // namespace mc::proxy
