// SPDX-License-Identifier: Apache-2.0
#pragma once
// One client's TCP connection, from accept to its line in the log. serve() is the story; a Session
// holds what its stages share. Lives in the frame of serve(), on its worker's thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/fd.hpp"
#include "net/socket_address.hpp"
#include "policy/route_table.hpp"
#include "proxy/live_connection.hpp"
#include "proxy/worker_context.hpp"
#include "ring/task.hpp"
#include "tls/client_hello.hpp"

namespace mc::proxy {

/// Serves one accepted and admitted client to its end: peek, decide, dial, relay, report.
ring::Detached serve(WorkerContext& context, std::size_t listener, Fd client, SocketAddress peer);

class Session final : public LiveConnection {
 public:
  Session(WorkerContext& context, std::size_t listener, Fd client, const SocketAddress& peer);
  ~Session();

  // The stages. Each returns Reason::kNone when the session goes on.

  /// Waits for the whole ClientHello without consuming a byte of it, and decides by it.
  ring::Task<Reason> read_hello();
  /// Connects to a backend of the route.
  ring::Task<Reason> dial();
  /// Moves bytes until both sides have ended or one has failed; never returns kNone.
  ring::Task<Reason> relay();
  /// Closes both sockets, in order or by reset, and reports how the connection ended.
  void end(Reason reason);

 private:
  // What the hello's bytes mean: how many are needed (SO_RCVLOWAT), or how the stage ends.
  using Judgement = std::variant<tls::Incomplete, Reason>;
  Judgement judge(std::span<const std::uint8_t> bytes);
  Reason decide(const tls::ClientHello& hello);
  [[nodiscard]] Reason why_stalled() const;

  WorkerContext& context_;
  Fd client_;
  Fd backend_;
};

}  // namespace mc::proxy
