// SPDX-License-Identifier: Apache-2.0
#pragma once
// Accepts the connections of one listening socket on a thread of its own, so many at a time and no
// more: gRPC's own listeners have no such limit, and stop for good when descriptors run out.
// Knows neither what the socket is nor what becomes of a connection.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/fd.hpp"

namespace mc::admin {

class Acceptor {
 public:
  /// Takes a connection, non-blocking, on the acceptor's thread. Returns the connection's
  /// descriptor from now on (it may be a duplicate), or -1 if it was closed.
  using Handler = std::function<int(Fd connection)>;

  /// Nothing, with errno, if there is no descriptor to be had. `connections_max` may be open at a
  /// time; further ones wait in the kernel.
  static std::unique_ptr<Acceptor> make(std::size_t connections_max);

  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  ~Acceptor();

  /// Starts the thread. `listener`, non-blocking, and what `handler` refers to must live until
  /// stop().
  void start(const Fd& listener, Handler handler);

  /// Ends the thread; connections stay. It may be started again. Idempotent; also done by the
  /// destructor.
  void stop();

 private:
  enum class Accepted { kOne, kNone, kPause };
  struct Connection {
    int fd = -1;
    std::uint64_t cookie = 0;  // tells it from a later socket with the same descriptor
  };

  Acceptor(Fd stop, std::size_t connections_max);

  void run(int listener);
  Accepted accept_one(int listener);
  bool has_room();

  const std::size_t connections_max_;
  /// An eventfd: readable when the thread is to end.
  const Fd stop_;
  // The thread's own, from start() on.
  Handler handler_;
  std::vector<Connection> connections_;
  std::thread thread_;
};

}  // namespace mc::admin
