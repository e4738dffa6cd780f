// SPDX-License-Identifier: Apache-2.0
#pragma once
// Serves a text to Prometheus: a small HTTP server on its own thread, for GET /metrics and nothing
// else. Anyone can reach the port, so it bounds what each client can take: connections, time, and
// the making of texts. It also serves when descriptors have run out, which is when the metrics are
// needed most. Does not know metrics.
//
// Why not the server that comes with prometheus-cpp: see ARCHITECTURE.md.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "metrics/limits.hpp"
#include "metrics/request.hpp"
#include "net/socket_address.hpp"

namespace mc::metrics {

/// The socket at which metrics are served. Errors name metrics.addr and the remedy.
Result<Fd> open_listener(const SocketAddress& address);

class Endpoint {
 public:
  /// Makes the text of a scrape, on the endpoint's thread.
  using Text = std::function<std::string()>;

  /// Serves at a socket of open_listener(). References in `text` must outlive the endpoint.
  static Result<std::unique_ptr<Endpoint>> start(Fd listener, Text text);

  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  /// Ends the open connections and the thread; waits for no client.
  ~Endpoint();

  /// Its address, with the port that the kernel chose instead of port 0. Any thread.
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  /// The socket that it listens with.
  [[nodiscard]] int fd() const { return listener_.get(); }

 private:
  struct Connection {
    enum class Stage : std::uint8_t { kReading, kWriting, kEnding };

    Fd fd;
    Instant deadline;
    Stage stage = Stage::kReading;
    std::string request;
    std::string head;                         // of the response
    std::shared_ptr<const std::string> body;  // may be shared with others
    std::size_t sent = 0;                     // of head and body
  };
  enum class Progress : std::uint8_t { kWaits, kEnded };

  Endpoint(Fd listener, Fd stop, const SocketAddress& address, Text text);

  void run();
  [[nodiscard]] int wait_ms() const;
  void accept_one();
  Fd accept();
  void make_room();
  Progress advance(Connection& connection);
  Progress read(Connection& connection);
  Progress write(Connection& connection);
  static Progress drain(const Connection& connection);
  void respond(Connection& connection, RequestKind request);
  std::shared_ptr<const std::string> fresh_text();

  const Fd listener_;
  /// An eventfd: readable when the thread is to end.
  const Fd stop_;
  const SocketAddress address_;
  const Text make_text_;
  // The thread's own.
  std::vector<Connection> connections_;  // in the order in which they came
  Instant rest_until_;                   // no accepting before
  std::shared_ptr<const std::string> text_;
  Instant text_made_at_;
  std::thread thread_;
};

}  // namespace mc::metrics
